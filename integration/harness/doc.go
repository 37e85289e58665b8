// Package harness builds torrentfs, starts it and what it meets in the tests of
// the folders beside: other BitTorrent clients and trackers from Debian's
// packages, networks of hosts, disks that fail, real mounts.
//
// [Main] builds the program once, with the race detector, and every test runs
// that binary as a user would; nothing is reached from inside, except that the
// tests parse torrents with metainfo to know what they should contain. As root
// the tests run in network and mount namespaces of their own: what another
// program sends goes nowhere, and a mount that is left behind goes away with
// them. As another user they use the machine's loopback interface, and tests
// that need more say so and skip.
//
// The harness owns every process and every mount that it makes. It never
// touches a mount itself: a read goes through a process that can be killed, so
// that a mount that hangs fails one test and nothing else. Waiting is bounded
// everywhere, but the bound only tells a hang from slow work; no test asserts
// how long something took. A process that does not end as it should, a mount
// that is still there, or a report of the race detector fails the test that
// began it.
//
// The programs that it needs are installed by `make test`. If one is missing a
// test fails and names the package, unless TORRENTFS_SKIP_PROGRAMS is 1: then it
// skips. TORRENTFS_BINARY names a build of the program to test instead of a new
// one. Nothing here ships.
package harness
