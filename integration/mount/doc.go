// Package mount tests what people do with a mount: tools and players on files that are not here yet,
// signals, unmounting, the daemon, mount(8) and automounters.
package mount
