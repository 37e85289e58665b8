package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// everywhere are the programs of a Debian that has nothing but what is essential
// or required, by package, and those without which no test runs.
var everywhere = map[string]string{
	"coreutils":  "base64 cat chmod cp cut dd du echo env head id ls md5sum mkdir mknod nice printf rm seq sleep sort stat sync tail test true truncate wc",
	"util-linux": "findmnt nsenter setpriv unshare",
	"mount":      "mount umount",
	"base":       "awk bash cmp diff find grep sed sh tar xargs",
	"perl-base":  "perl",
	"go":         "go",
}

// starters are the functions that tests start or look for programs by, and which
// argument is the program's name; -1 is all of them.
var starters = map[string]int{"LookPath": 0, "Command": 0, "CommandContext": 1, "Tool": 0, "Need": -1, "copyOf": 1}

// quoted is what a shell script hands to a program, and commandWord the first word of a
// command in what is left.
var (
	quoted      = regexp.MustCompile(`(?s)<<'?[A-Z.]+'?\n.*|'[^']*'|"[^"]*"`)
	commandWord = regexp.MustCompile("(?:^|[;|&({\n])\\s*(?:if |then |do |else |! )*([a-z][a-z0-9_.-]+)(?:\\s|$)")
)

// shellWords are words of the shell itself, at the place of a program's name.
var shellWords = strings.Fields("cd do done echo else exec exit export fi for if printf set then trap while wait with import print")

// Each program that a test starts is part of a bare Debian or installed by scripts/setup.sh: else
// the tests pass only on machines where it happens to be.
func TestProgramsAreInstalled(t *testing.T) {
	installed := installedPrograms(t)
	used := map[string][]string{} // places, by program
	for _, name := range testFiles(t) {
		for program := range programsOf(t, name) {
			used[program] = append(used[program], strings.TrimPrefix(name, root))
		}
	}
	for _, program := range []string{"btfs", "aria2c", "ip", "setpriv", "go"} {
		if used[program] == nil {
			t.Errorf("no test was found to use %s: this check no longer sees how tests start programs", program)
		}
	}
	for program, places := range used {
		if !slices.Contains(installed, program) {
			t.Errorf("%s: %s may be missing: scripts/setup.sh does not install it", places[0], program)
		}
	}
}

// root is the project's directory.
const root = "../../"

// installedPrograms are those that may be relied on.
func installedPrograms(t *testing.T) []string {
	t.Helper()
	script, err := os.ReadFile(root + "scripts/setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^ +want ([^ \n]+) ([^#\n]+)`).FindAllStringSubmatch(string(script), -1) {
		all = append(all, m[1])
		all = append(all, besides[m[1]]...)
	}
	if len(all) < 10 {
		t.Fatalf("scripts/setup.sh installs %q alone", all)
	}
	if strings.Contains(string(script), "missing+=(python3 python3-libtorrent)") {
		all = append(all, "python3")
	}
	for _, programs := range everywhere {
		all = append(all, strings.Fields(programs)...)
	}
	return all
}

// besides are programs of the same package as one that setup.sh asks for.
var besides = map[string][]string{
	"ffprobe":     {"ffmpeg"},
	"fusermount3": {"mount.fuse3"},
	"iptables":    {"ip6tables"},
	"pgrep":       {"ps", "pkill"},
}

// isOfTests reports whether a file is a test, or of the harness that tests use.
func isOfTests(path string) bool {
	return strings.HasSuffix(path, "_test.go") || filepath.Base(filepath.Dir(path)) == "harness" && filepath.Ext(path) == ".go"
}

// testFiles are the tests of the whole project.
func testFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case isOfTests(path):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// programsOf are the programs that a test file names in a call of a starter, as the name of a
// command or as what one needs, and those that its hosts' scripts begin a line with.
func programsOf(t *testing.T, name string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	add := func(e ast.Expr) {
		if s, ok := literal(e); ok && !strings.Contains(s, "/") {
			found[s] = true
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			programsOfCall(n, add, found)
		case *ast.CompositeLit:
			if calledName(n.Type) != "Command" {
				break
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && isIdent(kv.Key, "Name") {
					add(kv.Value)
				}
			}
		case *ast.KeyValueExpr:
			if lit, ok := n.Value.(*ast.CompositeLit); ok && isIdent(n.Key, "needs") {
				for _, e := range lit.Elts {
					add(e)
				}
			}
		}
		return true
	})
	return found
}

func programsOfCall(call *ast.CallExpr, add func(ast.Expr), found map[string]bool) {
	name := calledName(call.Fun)
	if name == "Sh" && len(call.Args) == 1 {
		if script, ok := literal(call.Args[0]); ok {
			for _, m := range commandWord.FindAllStringSubmatch(quoted.ReplaceAllString(script, "_"), -1) {
				if !slices.Contains(shellWords, m[1]) {
					found[m[1]] = true
				}
			}
		}
	}
	at, ok := starters[name]
	for i, arg := range call.Args {
		if ok && (i == at || at < 0) {
			add(arg)
		}
	}
}

// calledName is the name of a function or a type, without that of its package.
func calledName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// literal is the string that an expression begins with.
func literal(e ast.Expr) (string, bool) {
	if b, ok := e.(*ast.BinaryExpr); ok {
		e = b.X
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
