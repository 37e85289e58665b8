package layering

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "torrentfs"

// outside is the floor of what exists for tests alone: it may import anything,
// and nothing that ships may import it.
const outside = 99

// floors gives each room its floor. A package belongs to the longest prefix of its path. A new
// package gets a line here.
var floors = map[string]int{
	// Text that is safe to show: every floor may need it.
	"internal/safetext": -1,
	"internal/version":  -1, // of the program: everything that tells it to others

	"metainfo/bencode": -1, // the guarded decoder, which floor 0 shares
	"internal/bitset":  -1, // pieces and blocks as sets, which all floors share
	"internal/leave":   -1, // calls that may hang, which all floors share
	"internal/budget":  -1, // token buckets, which all floors share
	"metainfo":         0,
	"swarm/wire":       0,
	"picker":           1,
	"verify":           1,
	"net":              1, // the ways out of this machine
	"net/portmap":      1, // a room of its own, as it alone may import goupnp
	"cache":            2,
	"cache/resume":     1, // codecs
	"cache/state":      1, // words
	"swarm/announce":   2,
	"swarm/choke":      2,
	"swarm/conn":       2,
	"swarm/pieces":     2,
	"swarm/peers":      2,
	"swarm/metadata":   2,
	"swarm/dht":        2,
	"swarm/lsd":        2,
	"swarm/hashes":     2,
	"swarm/utp":        2,
	"swarm/mse":        2,
	"swarm/webseed":    2,
	"swarm":            3,
	"fs":               4,
	"web":              4,
	"library":          4,
	"tracker":          4,
	"cmd":              5,
	"integration":      outside,
	"internal":         outside,
	"picker/sim":       outside,

	// Hashing beside the pure policy that it serves.
	"swarm/pieces/hashing": 2,
}

// sideways are the imports between different rooms of one floor that are
// wanted, each with its reason.
var sideways = map[string]string{
	"swarm/conn > swarm/mse": "a connection may be encrypted",
	"net/portmap > net":      "it speaks to the router by package egress",

	"library > fs": "a torrent offers itself as the fs.Source that fs declares",

	"swarm/pieces/hashing > swarm/pieces": "a verdict is what the ledger takes, a check what it gives",
	"swarm/pieces/hashing > swarm/hashes": "hash workers check blocks against the trees, and proofs",
}

// forbidden are imports, direct or through our own packages, that a room must
// never have although the floors would allow them. A trailing slash forbids
// what lies below.
var forbidden = map[string][]string{
	"swarm":       {"torrentfs/cache", "torrentfs/fs"},
	"cache":       {"torrentfs/swarm", "torrentfs/swarm/"},
	"tracker":     {"torrentfs/swarm", "torrentfs/picker", "torrentfs/cache", "torrentfs/fs"},
	"net":         {"torrentfs/metainfo", "torrentfs/metainfo/", "torrentfs/swarm/"},
	"net/portmap": {"torrentfs/metainfo", "torrentfs/metainfo/", "torrentfs/swarm/"},
	"fs":          {"torrentfs/metainfo", "torrentfs/picker", "torrentfs/swarm", "torrentfs/swarm/", "torrentfs/cache", "torrentfs/tracker"},
}

// pure are the standard packages that a room of pure policy must not import:
// it takes time and randomness as arguments and does no input or output.
var pure = map[string][]string{
	"picker":         {"context", "io", "log", "log/", "net", "net/", "os", "os/", "sync", "sync/", "syscall"},
	"cache/resume":   {"context", "io", "log", "log/", "net", "net/", "os", "os/", "sync", "sync/", "syscall", "time"},
	"swarm/hashes":   {"io", "log", "log/", "net", "net/", "os", "os/", "syscall"},
	"swarm/peers":    {"context", "io", "log", "log/", "net", "os", "os/", "syscall"},
	"swarm/metadata": {"context", "io", "log", "log/", "net", "os", "os/", "sync", "sync/", "syscall"},
	"swarm/pieces":   {"context", "log", "log/", "net", "os", "os/", "sync", "sync/", "syscall"},
}

// guarded are the libraries that only the named rooms may import, because all
// others go through the guards there.
var guarded = map[string][]string{
	"github.com/hanwen/go-fuse":      {"fs"},
	"github.com/dgraph-io/ristretto": {"cache"},
	"github.com/jackpal/bencode-go":  {"metainfo/bencode"},
	"github.com/alecthomas/kong":     {"cmd"},
	"github.com/anacrolix":           {"swarm/dht"},
	"github.com/huin/goupnp":         {"net/portmap"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// listPackages returns our packages for a system, with their imports. Test
// files are left out: a test may reach up.
func listPackages(t *testing.T, goos string) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := make(map[string]goPackage)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

// room is the longest entry of floors that a package lies in.
func room(path string) (name string, floor int, ok bool) {
	path = strings.TrimPrefix(path, module+"/")
	for entry, f := range floors {
		if within(path, entry) && len(entry) > len(name) {
			name, floor, ok = entry, f, true
		}
	}
	return name, floor, ok
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// matches reports whether an import path is named by a rule.
func matches(path, rule string) bool {
	if dir, ok := strings.CutSuffix(rule, "/"); ok {
		return strings.HasPrefix(path, dir+"/")
	}
	return path == rule
}

func TestImportsPointDown(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		packages := listPackages(t, goos)
		if len(packages) < 5 {
			t.Fatalf("%s: go list found %d packages only", goos, len(packages))
		}
		for path, p := range packages {
			from, floor, ok := room(path)
			if !ok {
				t.Errorf("%s has no floor: give its room a line in this test", path)
				continue
			}
			for _, imported := range p.Imports {
				if !strings.HasPrefix(imported, module+"/") {
					continue
				}
				to, below, _ := room(imported)
				switch {
				case from == to, floor == outside, below < floor:
				case below == floor && sideways[from+" > "+to] != "":
				default:
					t.Errorf("%s: %s (floor %d) imports %s (floor %d)", goos, path, floor, imported, below)
				}
			}
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	packages := listPackages(t, "linux")
	for path := range packages {
		from, _, _ := room(path)
		for _, imported := range ours(packages, path) {
			for _, rule := range forbidden[from] {
				if matches(imported, rule) {
					t.Errorf("%s reaches %s, which %s must not know", path, imported, from)
				}
			}
		}
		for _, imported := range packages[path].Imports {
			for _, rule := range pure[from] {
				if matches(imported, rule) {
					t.Errorf("%s imports %s: %s is pure policy", path, imported, from)
				}
			}
			for library, rooms := range guarded {
				if within(imported, library) && !slices.Contains(rooms, from) && !isOutside(path) {
					t.Errorf("%s imports %s, which only %s may", path, imported, strings.Join(rooms, ", "))
				}
			}
		}
	}
}

func isOutside(path string) bool {
	_, floor, _ := room(path)
	return floor == outside
}

// ours are all of our packages that a package reaches.
func ours(packages map[string]goPackage, path string) []string {
	seen := map[string]bool{}
	var visit func(string)
	visit = func(p string) {
		for _, imported := range packages[p].Imports {
			if _, known := packages[imported]; known && !seen[imported] {
				seen[imported] = true
				visit(imported)
			}
		}
	}
	visit(path)
	reached := make([]string, 0, len(seen))
	for p := range seen {
		reached = append(reached, p)
	}
	slices.Sort(reached)
	return reached
}

// commandImports are our packages that cmd/torrentfs may import: what it has of the house, and
// exceptions with their reason. What else it wants of the rooms below is missing in library.
var commandImports = map[string]string{
	"library":  "the torrents",
	"fs":       "the mount",
	"metainfo": "the .torrent",
	"tracker":  "the tracker",
	"verify":   "the check of data on disk",

	"cmd/torrentfs/internal/ui":         "its own",
	"cmd/torrentfs/internal/demo":       "its own",
	"cmd/torrentfs/internal/completion": "its own",

	"fs/mounttable":     "umount looks for mounts of other processes",
	"metainfo/bencode":  "a hint tells a file that is no .torrent from one that is refused",
	"internal/safetext": "the log goes out by it",
	"internal/leave":    "it ends although a disk does not answer",
	"internal/version":  "it prints the version",
}

func TestCommandImports(t *testing.T) {
	used := map[string]bool{}
	for _, goos := range []string{"linux", "darwin"} {
		for path, p := range listPackages(t, goos) {
			if !within(path, module+"/cmd/torrentfs") {
				continue
			}
			for _, imported := range p.Imports {
				name, ours := strings.CutPrefix(imported, module+"/")
				if used[name] = true; ours && commandImports[name] == "" {
					t.Errorf("%s imports %s: what a command needs of it belongs into library", path, imported)
				}
			}
		}
	}
	for name := range commandImports {
		if !used[name] {
			t.Errorf("cmd/torrentfs does not import %s any more", name)
		}
	}
}
