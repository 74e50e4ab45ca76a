"""A small kubelet for tests: Pods are local processes.

It registers a node, binds Pending Pods to it (there is no scheduler), runs the command of the first container as a
process on this machine, reports its status, restarts it as `restartPolicy` says, and on deletion sends SIGTERM, waits
for the grace period, sends SIGKILL and removes the Pod. Images are names only, and two have a meaning: see `images`.

`__main__` the command line, `agent` list and watch, `pod` the life of one Pod, `container` what to run,
`status` what to report, `probe` whether it is ready, `address` where it is reached, `token` who it is to the API
server, `client` requests. Not here: volumes, liveness and startup probes, several containers, networks, user IDs.
"""
