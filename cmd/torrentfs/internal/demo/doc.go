// Package demo shows a whole swarm on one machine: it starts a tracker and a seeder, mounts their
// torrent, reads through the mount while it downloads, compares every byte, and lets a second
// client download from the mount alone. Each program is a process of its own, started with the
// command line that a user would type, and followed through its JSON log.
//
// One goroutine walks through the steps and owns the processes and files; one more for each process
// reads its log. Nothing leaves the machine, and nothing is left behind. The package knows no exit
// code but what a program's log tells: [Error] says what failed, and the caller what that means.
package demo
