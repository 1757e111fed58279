//! `--export-*`: results in the form that another tool reads, to a file or to standard output.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::record::Record;
use crate::record::summary::Summary;
use crate::report::Report;
use crate::report::render::{self, Export};

use super::Failure;
use super::console::Console;
use super::files::{self, Disk};

#[derive(Debug, Args)]
#[command(next_help_heading = "Exports (- for standard output, in place of the tables)")]
pub(super) struct ExportArgs {
    /// Everything: report.json
    #[arg(long = "export-json", value_name = "FILE|-")]
    json: Option<PathBuf>,

    /// Every number of every run: records.csv
    #[arg(long = "export-csv", value_name = "FILE|-")]
    csv: Option<PathBuf>,

    /// The report in Markdown
    #[arg(long = "export-markdown", value_name = "FILE|-")]
    markdown: Option<PathBuf>,

    /// The means and their intervals as OpenMetrics
    #[arg(long = "export-openmetrics", value_name = "FILE|-")]
    openmetrics: Option<PathBuf>,

    /// Latencies by percentile, as HdrHistogram's plotter reads them
    #[arg(long = "export-hgrm", value_name = "FILE|-")]
    hgrm: Option<PathBuf>,
}

/// Whether `path` stands for standard output.
pub(super) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Writes `bytes` to `path`, or to standard output.
pub(super) fn write(path: &Path, bytes: &[u8], console: &mut Console) -> Result<(), Failure> {
    if is_stdout(path) {
        return console.print(&String::from_utf8_lossy(bytes));
    }
    files::put(&Disk, path, bytes)?;
    Ok(())
}

impl ExportArgs {
    fn all(&self) -> impl Iterator<Item = (Export, &Path)> {
        [
            (Export::Json, &self.json),
            (Export::Csv, &self.csv),
            (Export::Markdown, &self.markdown),
            (Export::OpenMetrics, &self.openmetrics),
            (Export::Hgrm, &self.hgrm),
        ]
        .into_iter()
        .filter_map(|(form, path)| Some((form, path.as_deref()?)))
    }

    /// Whether one of them takes standard output for itself.
    pub(super) fn take_stdout(&self) -> bool {
        self.all().any(|(_, path)| is_stdout(path))
    }

    /// Writes what is asked for of a report and what it was made of.
    pub(super) fn write(
        &self,
        report: &Report,
        records: &[Record],
        summaries: &[Summary],
        console: &mut Console,
    ) -> Result<(), Failure> {
        for (form, path) in self.all() {
            let bytes = render::export(form, report, records, summaries)
                .map_err(|error| Failure::Bug(error.to_string()))?;
            write(path, &bytes, console)?;
        }
        Ok(())
    }
}
