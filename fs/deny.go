package fs

import (
	"math"
	"slices"
	"strings"
	"sync"
)

// DefaultDeniedReaders are programs that read all files they find, to index them or to make
// thumbnails. A name is that of the process or of its executable. "name:argument" asks for the base
// name of the first argument too, for programs that run others' code: KDE's workers do everything
// from copying to thumbnails.
func DefaultDeniedReaders() []string {
	return []string{
		// Indexers of desktops: GNOME, KDE, macOS, and Recoll.
		"tracker-miner-fs-3", "tracker-miner-fs", "tracker-extract-3", "tracker-extract",
		"localsearch-3", "localsearch-extractor-3", "localsearch",
		"baloo_file", "baloo_file_extractor",
		"mds", "mds_stores", "mdworker", "mdworker_shared", "mdbulkimport", "recollindex",
		// Thumbnailers.
		"tumblerd", "kioworker:thumbnail.so", "kioslave5:thumbnail.so", "kdeinit5:thumbnail.so",
		"totem-video-thumbnailer", "ffmpegthumbnailer", "gst-thumbnailer", "gst-video-thumbnailer",
		"gdk-pixbuf-thumbnailer", "glycin-thumbnailer", "evince-thumbnailer", "papers-thumbnailer",
		"atril-thumbnailer", "xreader-thumbnailer", "gnome-epub-thumbnailer", "gnome-font-viewer-thumbnailer",
		"gnome-thumbnail-font", "gsf-office-thumbnailer", "rawtherapee-thumbnailer", "webp-pixbuf-thumbnailer",
		"QuickLookSatellite", "QuickLookUIService", "quicklookd", "com.apple.quicklook.ThumbnailsAgent",
		// locate(1) reads no files, but its relatives may.
		"updatedb", "updatedb.plocate", "updatedb.mlocate",
	}
}

// maxComm is how much of a process's name the kernel keeps.
const maxComm = 15

// program is what is known of the program that a process runs.
type program struct {
	comm string // of the process, not of the thread; at most maxComm bytes
	exe  string // base name of the executable, "" if we may not see it
	arg  string // base name of the first argument
}

// is reports whether the program goes by a name of [Options.DenyReaders].
func (p program) is(name string) bool {
	name, arg, withArg := strings.Cut(name, ":")
	if name == "" || withArg && arg != p.arg {
		return false
	}
	return name == p.exe || name[:min(len(name), maxComm)] == p.comm
}

func (p program) isAny(names []string) (name string, ok bool) {
	i := slices.IndexFunc(names, p.is)
	if i < 0 {
		return "", false
	}
	return names[i], true
}

// denials holds which programs may not read incomplete files, and which of them were logged.
type denials struct {
	names []string // immutable

	mu   sync.Mutex
	told map[string]bool // by name
}

func (d *denials) init(names []string) {
	d.names, d.told = names, make(map[string]bool)
}

// first reports whether this name was not logged before.
func (d *denials) first(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	told := d.told[name]
	d.told[name] = true
	return !told
}

// denied reports whether the caller pid may not open a file. A complete file is open to all.
func (f *fileSystem) denied(pid uint32, i nodeIndex, n *node, file File) bool {
	if len(f.deny.names) == 0 || n.size == 0 {
		return false
	}
	if ready, ok := file.(ReadyFile); ok && n.size <= math.MaxInt && ready.Ready(0, int(n.size)) {
		return false
	}
	name, ok := programOf(pid).isAny(f.deny.names)
	if !ok {
		return false
	}
	f.counters.denied.Add(1)
	if f.deny.first(name) {
		f.log.Info("keeping a program from files that are not complete: reading them would download them",
			"program", name, "path", f.tree.path(i))
	}
	return true
}
