#!/usr/bin/env bash
# A real Slurm on one machine, for tests, as root: Debian's slurm-wlm and munge, one node, no accounting.
#   single_node_slurm.sh start DIR    starts munged, slurmctld and slurmd, and waits until the node is idle
#   single_node_slurm.sh stop DIR     ends what it started
# The configuration lies in /etc/slurm, since Snakemake's plug-in clears SLURM_* from the environment of its jobs; every
# path in it is absolute, since slurmctld changes its directory.
set -euo pipefail
what=${1:?start or stop} dir=$(cd "${2:?a folder}" && pwd)
if [ "$what" = stop ]; then
  for each in slurmd slurmctld munged; do
    [ -f "$dir/$each.pid" ] && kill "$(cat "$dir/$each.pid")" 2>/dev/null || true
  done
  # Without a Slurm behind it, what asks for one would wait.
  grep -qs "$dir" /etc/slurm/slurm.conf && rm /etc/slurm/slurm.conf
  exit 0
fi
mkdir -p /run/munge /etc/slurm "$dir/state" "$dir/spool"
chown munge:munge /run/munge /etc/munge /var/log/munge /var/lib/munge
[ -f /etc/munge/munge.key ] || runuser -u munge -- mungekey --create
if ! munge -n >/dev/null 2>&1; then
  setsid runuser -u munge -- munged --force
  cp /run/munge/munged.pid "$dir/munged.pid"
fi
host=$(hostname -s) cores=$(nproc --all) memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 * 8 / 10))
cat >/etc/slurm/slurm.conf <<CONF
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MpiDefault=none
SchedulerParameters=batch_sched_delay=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores Boards=1 SocketsPerBoard=1 CoresPerSocket=$cores ThreadsPerCore=1 RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
slurmctld -f /etc/slurm/slurm.conf
sleep 1
slurmd -f /etc/slurm/slurm.conf -N "$host"
for _ in $(seq 60); do
  [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && exit 0
  sleep 0.5
done
echo "the node did not become idle; see $dir/*.log" >&2
exit 1
