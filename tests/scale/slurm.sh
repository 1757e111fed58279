#!/usr/bin/env bash
# slurm.sh SCRIPT: starts a real Slurm of two nodes, on loopback and in a temporary folder, runs
# SCRIPT in it, and stops it again.
set -euo pipefail
script=${1:?the script to run}
PATH=$PATH:/usr/sbin
folder=$(mktemp -d); chmod 755 "$folder"; mkdir -p "$folder"/{state,run,log}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null || echo $((20000 + RANDOM % 20000)); }
dd if=/dev/urandom of="$folder/munge.key" bs=1 count=1024 status=none; chmod 400 "$folder/munge.key"
me=$(id -un)
cat > "$folder/slurm.conf" <<C
ClusterName=smoke
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/run/ctld.pid
SlurmdPidFile=$folder/run/%n.pid
SlurmctldLogFile=$folder/log/ctld.log
SlurmdLogFile=$folder/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdTimeout=15
KillWait=5
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=0,sched_interval=2
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$(free_port) CPUs=1 RealMemory=500 State=UNKNOWN
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$(free_port) CPUs=1 RealMemory=500 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=60 State=UP
C
export SLURM_CONF=$folder/slurm.conf
daemons=()
stop() {
  local code=$?
  [ $code = 0 ] || tail -n 20 "$folder"/log/* >&2 || true
  for daemon in "${daemons[@]}"; do kill "$daemon" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT
munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/run/munge.sock" \
  --pid-file="$folder/run/munge.pid" --log-file="$folder/log/munge.log" \
  --seed-file="$folder/run/munge.seed" 2>"$folder/log/munged" & daemons+=($!)
for _ in $(seq 50); do [ -S "$folder/run/munge.sock" ] && break; sleep 0.1; done
slurmctld -D -f "$SLURM_CONF" 2>/dev/null & daemons+=($!)
for node in n1 n2; do slurmd -D -f "$SLURM_CONF" -N $node 2>/dev/null & daemons+=($!); done
for _ in $(seq 200); do [ "$(sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)" = 2 ] && break; sleep 0.2; done
cd "$folder/log"
sh "$script" --output="$folder/log/task-%a.out"
cat "$folder"/log/task-*.out
