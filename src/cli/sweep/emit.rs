//! The files by which an engine works off a sweep: Slurm job arrays, Kubernetes Indexed Jobs, and
//! GNU parallel. All of them call the same command with another shard.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::ValueEnum;

use super::{Plan, io};
use crate::cli::Failure;
use crate::cli::repeat::quoted;

/// What a sweep can be handed to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Engine {
    /// A Slurm job array, and a merge that depends on it
    Slurm,
    /// A Kubernetes Indexed Job
    K8s,
    /// GNU parallel, on this machine or over ssh
    Parallel,
}

/// Writes the files for `engine` into the sweep's `folder`; what to do with them.
pub(super) fn write(
    engine: Engine,
    shard_count: u32,
    folder: &Path,
    plan: &Plan,
) -> Result<String, Failure> {
    let out = folder.display().to_string();
    let out = quoted(&out);
    let sweep = on_the_spot(plan);
    let (files, next): (Vec<(&str, String)>, String) = match engine {
        Engine::Slurm => (
            vec![
                ("sweep.sbatch", slurm_sweep(shard_count, &sweep, &out)),
                ("merge.sbatch", slurm_merge(&out)),
                ("submit.sh", slurm_submit(shard_count, &out)),
            ],
            format!("next: sh {out}/submit.sh"),
        ),
        Engine::K8s => (
            vec![("job.yaml", kubernetes(shard_count, plan))],
            format!(
                "next: put your image and volumes into {out}/job.yaml, then kubectl apply -f \
                 {out}/job.yaml; when it is complete: stormglass merge --out {out}"
            ),
        ),
        Engine::Parallel => (
            vec![("parallel.sh", parallel(shard_count, &sweep, &out))],
            format!("next: sh {out}/parallel.sh"),
        ),
    };
    let mut told = String::new();
    for (name, text) in files {
        let path = folder.join(name);
        io("write", &path, fs::write(&path, text))?;
        let _ = writeln!(told, "wrote {}", path.display());
    }
    Ok(told + &next)
}

/// The sweep's command, of whichever program `STORMGLASS` names, with the scenario where it is.
fn on_the_spot(plan: &Plan) -> String {
    let command = plan.command().trim_start_matches("stormglass sweep ");
    let rest = command.split_once(' ').map_or(String::new(), |(_, rest)| format!(" {rest}"));
    let path = quoted(&plan.path.display().to_string());
    format!("\"${{STORMGLASS:-stormglass}}\" sweep {path}{rest}")
}

fn slurm_sweep(shard_count: u32, sweep: &str, out: &str) -> String {
    format!(
        "#!/bin/sh\n\
         #SBATCH --job-name=stormglass\n\
         #SBATCH --requeue\n\
         #SBATCH --cpus-per-task=1\n\
         #SBATCH --time=01:00:00\n\
         # `exec`, so that a signal from Slurm reaches the sweep: it keeps what is finished.\n\
         exec {sweep} --shard \"$SLURM_ARRAY_TASK_ID/{shard_count}\" \
         --jobs \"${{SLURM_CPUS_PER_TASK:-1}}\" --quiet --out {out}\n"
    )
}

fn slurm_merge(out: &str) -> String {
    format!(
        "#!/bin/sh\n\
         #SBATCH --job-name=stormglass-merge\n\
         exec \"${{STORMGLASS:-stormglass}}\" merge --out {out}\n"
    )
}

fn slurm_submit(shard_count: u32, out: &str) -> String {
    let last = shard_count - 1;
    format!(
        "#!/bin/sh\n\
         # Submits the array, and a merge for when all tasks have ended, however they did: it names\n\
         # what is missing. To submit those again: ARRAY=0,3 sh {out}/submit.sh\n\
         set -eu\n\
         id=$(sbatch --parsable --array=\"${{ARRAY:-0-{last}}}\" \"$@\" {out}/sweep.sbatch)\n\
         sbatch --wait --dependency=afterany:\"$id\" {out}/merge.sbatch\n"
    )
}

fn parallel(shard_count: u32, sweep: &str, out: &str) -> String {
    let last = shard_count - 1;
    format!(
        "#!/bin/sh\n\
         # One shard a job slot. The same command resumes: finished runs are not made again.\n\
         set -eu\n\
         seq 0 {last} | parallel --halt soon,fail=10% \
         '{sweep} --shard {{}}/{shard_count} --jobs 1 --quiet --out {out}'\n\
         exec \"${{STORMGLASS:-stormglass}}\" merge --out {out}\n"
    )
}

fn kubernetes(shard_count: u32, plan: &Plan) -> String {
    let command = plan.command();
    let rest = command.trim_start_matches("stormglass sweep ");
    let rest = rest.split_once(' ').map_or(String::new(), |(_, rest)| format!(" {rest}"));
    let file = plan.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let parallelism = shard_count.min(50);
    format!(
        "apiVersion: batch/v1\n\
         kind: Job\n\
         metadata:\n\
         \x20 name: stormglass-sweep\n\
         spec:\n\
         \x20 completions: {shard_count}\n\
         \x20 parallelism: {parallelism}\n\
         \x20 completionMode: Indexed\n\
         \x20 backoffLimitPerIndex: 3\n\
         \x20 maxFailedIndexes: {shard_count}\n\
         \x20 podFailurePolicy:\n\
         \x20   rules:\n\
         \x20     - action: Ignore\n\
         \x20       onPodConditions:\n\
         \x20         - type: DisruptionTarget\n\
         \x20     # A wrong scenario, or a bug of ours: no use in trying again.\n\
         \x20     - action: FailIndex\n\
         \x20       onExitCodes:\n\
         \x20         operator: In\n\
         \x20         values: [2, 70]\n\
         \x20 template:\n\
         \x20   spec:\n\
         \x20     restartPolicy: Never\n\
         \x20     containers:\n\
         \x20       - name: main\n\
         \x20         image: REGISTRY/stormglass:TAG\n\
         \x20         command:\n\
         \x20           - /bin/sh\n\
         \x20           - -c\n\
         \x20           - >-\n\
         \x20             exec stormglass sweep /scenario/{file}{rest}\n\
         \x20             --shard \"$JOB_COMPLETION_INDEX/{shard_count}\" --quiet --out /out\n\
         \x20         volumeMounts:\n\
         \x20           - {{ name: out, mountPath: /out }}\n\
         \x20           - {{ name: scenario, mountPath: /scenario }}\n\
         \x20     volumes:\n\
         \x20       - name: out\n\
         \x20         persistentVolumeClaim: {{ claimName: stormglass-out }}\n\
         \x20       - name: scenario\n\
         \x20         configMap: {{ name: stormglass-scenario }}\n"
    )
}
