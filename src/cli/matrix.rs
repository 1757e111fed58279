//! `matrix`: what every variant does under every fault, in one small schedule a cell.
//!
//! Nothing here knows locks from queues: a wing's matrix is a row of [`matrix::MATRICES`].

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::config::{nearest, printable};
use crate::experiments::Conduct;
use crate::experiments::matrix::{
    self, Cell, Course, Harm, Head, Layer, MATRICES, Matrix, Verdict,
};
use crate::record::Unit;
use crate::report::render::{self, Screen};
use crate::report::{
    Block, BoardRow, Cell as Shown, Chart, Column, Plot, Section, Sheet, Table, Tone,
};

use super::console::Console;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::{Exit, Failure, Form};

#[derive(Debug, Args)]
pub(super) struct MatrixArgs {
    /// Which matrix; may be left out where an id says it
    #[arg(value_parser = names())]
    name: Option<String>,

    /// Only the cells whose ids have this in them, such as V3/ or /F1c; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,

    /// Show how one cell went, such as V3/F1c or locks:V3/F1c
    #[arg(long, value_name = "ID", conflicts_with_all = ["only", "ids", "scenario"])]
    explain: Option<String>,

    /// Print one cell as a scenario that `run` accepts
    #[arg(long, value_name = "ID", conflicts_with_all = ["only", "ids"])]
    scenario: Option<String>,

    /// Which of several cells of one id: a column of the CSV form, such as `fence_w`, or a
    /// condition; the first by default
    #[arg(long, value_name = "NAME")]
    case: Option<String>,

    /// Print what the ids stand for: variants with their parameters, and faults
    #[arg(long, conflicts_with = "only")]
    ids: bool,

    /// How many cells at the same time; 0 for as many as there are cores
    #[arg(long, short, value_name = "N", default_value = "0")]
    jobs: usize,
}

fn names() -> Vec<&'static str> {
    MATRICES.iter().map(|matrix| matrix.subject().name()).collect()
}

pub(super) fn matrix(
    args: &MatrixArgs,
    form: Form,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let matrix = args.matrix()?;
    if args.ids {
        return ids(matrix, form, console);
    }
    if let Some(id) = &args.explain {
        let cell = args.cell(matrix, id)?;
        let course = matrix.explain(&cell).map_err(Failure::Bug)?;
        return explain(matrix, &cell, &course, form, console);
    }
    if let Some(id) = &args.scenario {
        console.print(&matrix.scenario(&args.cell(matrix, id)?))?;
        return Ok(Exit::Done);
    }
    let cells = args.cells(matrix)?;
    // Before the work: a name that is none need not wait for it.
    let layer = if form == Form::Svg { args.layer(matrix)? } else { 0 };
    let interrupt = Interrupt::listen();
    let progress = Progress::new(cells.len(), console.is_watched());
    let conduct = Conduct { jobs: args.jobs, stop: interrupt.flag() };
    let done = |cell: &Cell| progress.step(matrix.id(cell));
    let verdicts = matrix::compute(matrix, &cells, conduct, &done).map_err(Failure::Bug)?;
    drop(progress);
    let Some(verdicts) = verdicts else { return Ok(interrupt.exit().unwrap_or(Exit::Incomplete)) };
    let text = match form {
        Form::Csv => csv(&matrix.csv(&cells, &verdicts))?,
        Form::Json => in_json(matrix, &cells, &verdicts),
        Form::Human | Form::Markdown | Form::Html => {
            draw(&as_sheet(matrix, &cells, &verdicts, args), form)?
        }
        Form::Svg => {
            let chart = as_chart(matrix, &cells, &verdicts, layer);
            render::chart_as_svg(&chart).map_err(|error| Failure::Usage(error.to_string()))?
        }
    };
    console.print(&text)?;
    Ok(Exit::Done)
}

impl MatrixArgs {
    /// The layer that `--case` names, or the first.
    fn layer(&self, matrix: &dyn Matrix) -> Result<usize, Failure> {
        let layers = matrix.layers();
        let Some(case) = &self.case else { return Ok(0) };
        layers.iter().position(|layer| layer.name == case).ok_or_else(|| {
            let names: Vec<&str> = layers.iter().map(|layer| layer.name).collect();
            Failure::Usage(format!(
                "no case `{}`: expected one of {}",
                printable(case),
                names.join(", ")
            ))
        })
    }

    fn matrix(&self) -> Result<&'static dyn Matrix, Failure> {
        let id = self.explain.as_ref().or(self.scenario.as_ref());
        let prefix = id.and_then(|id| id.split_once(':')).map(|(name, _)| name);
        let name = match (self.name.as_deref(), prefix) {
            (Some(name), Some(prefix)) if name != prefix => {
                let text = format!("`{}` is no cell of the matrix of {name}", printable(prefix));
                return Err(Failure::Usage(text));
            }
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => {
                let text = format!("which matrix? one of {}", names().join(", "));
                return Err(Failure::Usage(text));
            }
        };
        matrix::find(name).ok_or_else(|| {
            let name = printable(name);
            Failure::Usage(format!("no matrix `{name}`: expected one of {}", names().join(", ")))
        })
    }

    fn cells(&self, matrix: &dyn Matrix) -> Result<Vec<Cell>, Failure> {
        let all = matrix.cells();
        for wanted in &self.only {
            if !all.iter().any(|cell| matrix.id(cell).contains(wanted.as_str())) {
                return Err(no_cell(matrix, wanted));
            }
        }
        let is_wanted = |cell: &Cell| {
            let id = matrix.id(cell);
            self.only.is_empty() || self.only.iter().any(|wanted| id.contains(wanted.as_str()))
        };
        Ok(all.into_iter().filter(is_wanted).collect())
    }

    /// The cell that an id and `--case` name.
    fn cell(&self, matrix: &dyn Matrix, id: &str) -> Result<Cell, Failure> {
        let bare = id.split_once(':').map_or(id, |(_, bare)| bare);
        let full = format!("{}:{bare}", matrix.subject().name());
        let mut found: Vec<Cell> =
            matrix.cells().into_iter().filter(|cell| matrix.id(cell) == full).collect();
        if found.is_empty() {
            return Err(no_cell(matrix, bare));
        }
        let Some(case) = &self.case else { return Ok(found.swap_remove(0)) };
        let layers = matrix.layers();
        let cases: Vec<String> = found.iter().map(|cell| case_of(cell, &layers)).collect();
        match cases.iter().position(|other| other == case) {
            Some(index) => Ok(found.swap_remove(index)),
            None => Err(Failure::Usage(format!(
                "{full} has no case `{}`: expected one of {}",
                printable(case),
                cases.join(", ")
            ))),
        }
    }
}

fn no_cell(matrix: &dyn Matrix, id: &str) -> Failure {
    let ids: Vec<String> = matrix.cells().iter().map(|cell| matrix.id(cell)).collect();
    let bare: Vec<&str> =
        ids.iter().filter_map(|id| id.split_once(':')).map(|(_, bare)| bare).collect();
    let help = match nearest(id, &bare) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            format!(
                "`stormglass matrix {} --ids` lists variants and faults",
                matrix.subject().name()
            )
        }
    };
    Failure::Usage(format!("no cell `{}`\nhelp: {help}", printable(id)))
}

/// What tells a cell from others of its id: its condition, or else its layer.
fn case_of(cell: &Cell, layers: &[Layer]) -> String {
    let words = [layers[cell.layer].name, cell.condition];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn draw(sheet: &Sheet, form: Form) -> Result<String, Failure> {
    match form {
        Form::Html => render::sheet_as_html(sheet).map_err(|error| Failure::Bug(error.to_string())),
        Form::Markdown => Ok(render::sheet_as_markdown(sheet)),
        Form::Svg => Err(Failure::Usage(
            "only the whole matrix has a picture: expected --format human, markdown or html".into(),
        )),
        Form::Human | Form::Csv | Form::Json => {
            let columns = terminal_size::terminal_size()
                .map_or(Screen::default().columns, |(width, _)| usize::from(width.0));
            Ok(render::sheet_as_text(sheet, Screen { columns, is_coloured: true }))
        }
    }
}

/// The tables, a layer each: faults downwards, variants across.
fn as_sheet(matrix: &dyn Matrix, cells: &[Cell], verdicts: &[Verdict], args: &MatrixArgs) -> Sheet {
    let (variants, faults, layers) = (matrix.variants(), matrix.faults(), matrix.layers());
    let name = matrix.subject().name();
    let has = |variant: usize| cells.iter().any(|cell| cell.variant == variant);
    let shown: Vec<usize> = (0..variants.len()).filter(|variant| has(*variant)).collect();
    let mut sections = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let of_layer: Vec<(&Cell, &Verdict)> =
            cells.iter().zip(verdicts).filter(|(cell, _)| cell.layer == index).collect();
        let mut columns = vec![Column::of_words("fault")];
        columns.extend(shown.iter().map(|&variant| Column {
            title: variants[variant].id.into(),
            unit: None,
            definition: format!("{}: {}", variants[variant].title, variants[variant].choice),
        }));
        let mut rows = Vec::new();
        for (fault, head) in faults.iter().enumerate() {
            if !of_layer.iter().any(|(cell, _)| cell.fault == fault) {
                continue;
            }
            let mut row = vec![Shown::Text(head.title.clone())];
            row.extend(shown.iter().map(|&variant| {
                outcome(&of_layer, variant, fault).map_or_else(
                    || Shown::Text("-".into()),
                    |(text, tone)| Shown::Outcome(text, tone),
                )
            }));
            rows.push(row);
        }
        let table = Table { caption: layer.caption.into(), columns, rows, is_detail: false };
        let mut blocks = vec![Block::Table(table)];
        blocks.extend(conditions(matrix, &of_layer));
        let heading = layer.caption.to_owned();
        sections.push(Section { heading, findings: Vec::new(), blocks });
    }
    let mut legend: Vec<String> =
        matrix.legend().iter().map(|(letter, meaning)| format!("{letter}: {meaning}")).collect();
    legend.push("-: the fault, or the mode, does not apply".into());
    let command = args.only.iter().fold(format!("stormglass matrix {name}"), |command, only| {
        format!("{command} --only '{}'", printable(only))
    });
    Sheet {
        title: format!("The matrix of {name}: {} cells", cells.len()),
        words: vec![
            format!(
                "Each cell is one schedule of one run: what it shows can happen, and what it does \
                 not show may happen in another. `stormglass matrix --explain {name}:{}/{}` shows \
                 how a cell went; with --scenario in place of --explain it is printed as a file \
                 that `run` accepts.",
                variants[cells[0].variant].id, faults[cells[0].fault].id
            ),
            legend.join("; ") + ".",
        ],
        sections,
        command,
    }
}

/// What the cells of a variant under a fault say, and how bad the worst of them is.
fn outcome(cells: &[(&Cell, &Verdict)], variant: usize, fault: usize) -> Option<(String, Tone)> {
    let is_meant = |(cell, _): &&(&Cell, &Verdict)| cell.variant == variant && cell.fault == fault;
    let verdicts: Vec<&Verdict> = cells.iter().filter(is_meant).map(|(_, it)| *it).collect();
    let worst = verdicts.iter().map(|verdict| verdict.harm).max()?;
    let shown: Vec<&str> = verdicts.iter().map(|verdict| verdict.shown.as_str()).collect();
    let tone = match worst {
        Harm::None => Tone::Good,
        Harm::Nuisance => Tone::Warning,
        Harm::Wrong => Tone::Bad,
    };
    Some((shown.join(" / "), tone))
}

/// A layer as a picture.
fn as_chart(matrix: &dyn Matrix, cells: &[Cell], verdicts: &[Verdict], layer: usize) -> Chart {
    let (variants, faults, layers) = (matrix.variants(), matrix.faults(), matrix.layers());
    let of_layer: Vec<(&Cell, &Verdict)> =
        cells.iter().zip(verdicts).filter(|(cell, _)| cell.layer == layer).collect();
    let has = |variant: usize| of_layer.iter().any(|(cell, _)| cell.variant == variant);
    let shown: Vec<usize> = (0..variants.len()).filter(|variant| has(*variant)).collect();
    let of_fault = |(fault, head): (usize, &Head)| {
        let cells: Vec<Option<(String, Tone)>> =
            shown.iter().map(|&variant| outcome(&of_layer, variant, fault)).collect();
        let name = if head.title.starts_with(head.id) {
            head.title.clone()
        } else {
            format!("{} {}", head.id, head.title)
        };
        cells.iter().any(Option::is_some).then_some(BoardRow { name, cells })
    };
    let rows: Vec<BoardRow> = faults.iter().enumerate().filter_map(of_fault).collect();
    let count = |harm: Harm| of_layer.iter().filter(|(_, verdict)| verdict.harm == harm).count();
    let title = format!(
        "{} of {} cells go wrong for good, {} only cost time or work, {} are as they should be",
        count(Harm::Wrong),
        of_layer.len(),
        count(Harm::Nuisance),
        count(Harm::None)
    );
    let name = matrix.subject().name();
    let legend: Vec<String> =
        matrix.legend().iter().map(|(letter, meaning)| format!("{letter}: {meaning}")).collect();
    Chart {
        name: format!("{name}-matrix"),
        description: format!("The matrix of {name}, {}. {title}.", layers[layer].caption),
        title,
        subtitle: format!("{}; {}", layers[layer].caption, legend.join("; ")),
        y_label: "outcome".into(),
        y_unit: Unit::Count,
        plot: Plot::Board {
            columns: shown.iter().map(|&variant| variants[variant].id.to_owned()).collect(),
            rows,
        },
    }
}

/// What the parts of a cell with several outcomes are.
fn conditions(matrix: &dyn Matrix, cells: &[(&Cell, &Verdict)]) -> Option<Block> {
    let lines: Vec<String> = cells
        .iter()
        .filter(|(cell, _)| !cell.condition.is_empty())
        .map(|(cell, verdict)| {
            format!("{}: {}: {}", matrix.id(cell), cell.condition, verdict.shown)
        })
        .collect();
    (!lines.is_empty()).then(|| Block::Lines { caption: "Under which condition".into(), lines })
}

fn csv(records: &[Vec<String>]) -> Result<String, Failure> {
    render::rows_as_csv(records).map_err(|error| Failure::Bug(error.to_string()))
}

fn cell_in_json(matrix: &dyn Matrix, cell: &Cell, verdict: &Verdict) -> Json {
    let (variants, faults) = (matrix.variants(), matrix.faults());
    let mut object = json!({
        "reason": "cell",
        "matrix": matrix.subject().name(),
        "id": matrix.id(cell),
        "variant": variants[cell.variant].id,
        "variant_name": variants[cell.variant].title,
        "fault": faults[cell.fault].id,
        "fault_name": faults[cell.fault].title,
        "case": case_of(cell, &matrix.layers()),
        "verdict": verdict.letters,
        "shown": verdict.shown,
        "findings": verdict.findings,
    });
    for (name, value) in &verdict.fields {
        object[*name] = json!(value);
    }
    object
}

/// An object a cell, one a line.
fn in_json(matrix: &dyn Matrix, cells: &[Cell], verdicts: &[Verdict]) -> String {
    let mut lines = String::new();
    for (cell, verdict) in cells.iter().zip(verdicts) {
        let _ = writeln!(lines, "{}", cell_in_json(matrix, cell, verdict));
    }
    lines
}

fn explain(
    matrix: &dyn Matrix,
    cell: &Cell,
    course: &Course,
    form: Form,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let mut records = vec![course.columns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()];
    let text = match form {
        Form::Csv => {
            records.extend(course.lines.iter().cloned());
            csv(&records)?
        }
        Form::Json => {
            let mut object = cell_in_json(matrix, cell, &course.verdict);
            let lines = course.lines.iter().map(|line| {
                let fields = course.columns.iter().zip(line);
                Json::Object(
                    fields.map(|(name, value)| ((*name).to_owned(), json!(value))).collect(),
                )
            });
            object["timeline"] = Json::Array(lines.collect());
            format!("{object}\n")
        }
        Form::Human | Form::Markdown | Form::Html | Form::Svg => {
            draw(&course_as_sheet(matrix, cell, course), form)?
        }
    };
    console.print(&text)?;
    Ok(Exit::Done)
}

fn course_as_sheet(matrix: &dyn Matrix, cell: &Cell, course: &Course) -> Sheet {
    let (variants, faults, layers) = (matrix.variants(), matrix.faults(), matrix.layers());
    let (id, case) = (matrix.id(cell), case_of(cell, &layers));
    let meaning: Vec<String> = course
        .verdict
        .shown
        .chars()
        .filter_map(|letter| {
            let legend = matrix.legend();
            legend
                .iter()
                .find(|(other, _)| *other == letter.to_string())
                .map(|(letter, meaning)| format!("{letter}: {meaning}"))
        })
        .collect();
    let mut words = vec![
        format!("{}: {}", variants[cell.variant].title, variants[cell.variant].choice),
        faults[cell.fault].title.clone(),
    ];
    if !case.is_empty() {
        words.push(if cell.condition.is_empty() {
            layers[cell.layer].caption.into()
        } else {
            cell.condition.into()
        });
    }
    words.push(format!("{}.", meaning.join("; ")));
    words.extend(course.words.iter().cloned());
    let rows = course.lines.iter().map(|line| {
        let cells = line.iter().map(|text| Shown::Text(text.clone()));
        cells.collect()
    });
    let table = Table {
        caption: "what happened".into(),
        columns: course.columns.iter().map(|name| Column::of_words(name)).collect(),
        rows: rows.collect(),
        is_detail: false,
    };
    let mut blocks = vec![Block::Table(table)];
    if !course.verdict.findings.is_empty() {
        let lines = course.verdict.findings.clone();
        blocks.push(Block::Lines { caption: "What is wrong with it".into(), lines });
    }
    let is_first = matrix.cells().iter().find(|other| matrix.id(other) == id) == Some(cell);
    let case = if is_first { String::new() } else { format!(" --case '{case}'") };
    Sheet {
        title: format!("{id}: {}", course.verdict.shown),
        words,
        sections: vec![Section { heading: "What happened".into(), findings: Vec::new(), blocks }],
        command: format!("stormglass matrix --explain {id}{case}"),
    }
}

fn ids(matrix: &dyn Matrix, form: Form, console: &mut Console) -> Result<Exit, Failure> {
    let heads: Vec<(&str, Head)> = (matrix.variants().into_iter().map(|head| ("variant", head)))
        .chain(matrix.faults().into_iter().map(|head| ("fault", head)))
        .collect();
    let records: Vec<Vec<String>> =
        std::iter::once(["kind", "id", "name", "choice"].map(str::to_owned).to_vec())
            .chain(heads.iter().map(|(kind, Head { id, title, choice })| {
                vec![(*kind).to_owned(), (*id).to_owned(), title.clone(), choice.clone()]
            }))
            .collect();
    let text = match form {
        Form::Csv => csv(&records)?,
        Form::Json => {
            let mut lines = String::new();
            for record in &records[1..] {
                let fields =
                    records[0].iter().cloned().zip(record.iter().map(|field| json!(field)));
                let _ = writeln!(lines, "{}", Json::Object(fields.collect::<Map<_, _>>()));
            }
            lines
        }
        Form::Human | Form::Markdown | Form::Html | Form::Svg => {
            let name = matrix.subject().name();
            let of = |kind: &str, columns: &[&str]| {
                let rows = heads.iter().filter(|(of, _)| *of == kind).map(|(_, head)| {
                    let cells = [head.id.to_owned(), head.title.clone(), head.choice.clone()];
                    cells.into_iter().take(columns.len()).map(Shown::Text).collect()
                });
                let table = Table {
                    caption: format!("the {kind}s of the matrix of {name}"),
                    columns: columns.iter().map(|name| Column::of_words(name)).collect(),
                    rows: rows.collect(),
                    is_detail: false,
                };
                let blocks = vec![Block::Table(table)];
                Section { heading: format!("The {kind}s"), findings: Vec::new(), blocks }
            };
            let sheet = Sheet {
                title: format!("What the ids of the matrix of {name} stand for"),
                words: Vec::new(),
                sections: vec![
                    of("variant", &["id", "name", "as a scenario has it"]),
                    of("fault", &["id", "name"]),
                ],
                command: format!("stormglass matrix {name} --ids"),
            };
            draw(&sheet, form)?
        }
    };
    console.print(&text)?;
    Ok(Exit::Done)
}
