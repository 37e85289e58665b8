// Package mounttable reads the kernel's table of mounts, and finds the processes that hold a mount.
//
// It never touches a mount itself, which may hang or be dead: all that it reports is from /proc.
// Names in the table are arbitrary bytes; only those that the table escapes by octal numbers are
// special.
package mounttable
