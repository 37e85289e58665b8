// Package crashfs is a disk in memory that forgets what was not synced. It
// implements the file system of package cache/vfs for tests.
//
// It is stricter than most real disks: data is durable only after the file's
// Sync, a name only after the directory's SyncDir, and of what was not synced
// any part may survive, sector by sector and name by name, as the given
// source of randomness decides. A disk can be cut at its n-th operation; from
// then on all fails, and what Crash or Kill makes of it can be opened again.
// Errors can be injected by operation, and a sync that fails can lose what it
// was to save, as real systems do ([FS.OnFailedSync]).
//
// The disk owns its state under one lock; tests may use it from any goroutine.
// It never touches the real file system.
package crashfs
