package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// networkCalls are the names of the standard library by which a program reaches the
// network or asks for a name. Package egress alone uses them, so that nothing
// leaves beside a proxy or another interface.
var networkCalls = map[string][]string{
	"net": {
		"Dial", "DialIP", "DialTCP", "DialTimeout", "DialUDP", "Dialer", "Listen", "ListenConfig", "ListenIP", "ListenMulticastUDP",
		"ListenPacket", "ListenTCP", "ListenUDP", "DefaultResolver", "Resolver", "LookupAddr", "LookupCNAME", "LookupHost", "LookupIP",
		"LookupMX", "LookupNS", "LookupSRV", "LookupTXT", "ResolveIPAddr", "ResolveTCPAddr", "ResolveUDPAddr", "FileConn", "FilePacketConn",
		"FileListener", "Interfaces", "InterfaceAddrs", "InterfaceByName",
	},
	"net/http":              {"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm", "ListenAndServe", "ListenAndServeTLS"},
	"crypto/tls":            {"Dial", "DialWithDialer", "Dialer", "Listen"},
	"syscall":               {"Socket", "Connect"},
	"golang.org/x/sys/unix": {"Socket", "Connect"},
}

// mayCall are the packages that may use them, each with the reason.
var mayCall = map[string]string{
	"torrentfs/net/egress": "is the way out",
}

// exceptions are single files outside that may, with what they use and why.
var exceptions = map[string]string{
	"cmd/torrentfs/tracker.go net.ListenConfig": "the tracker is a server: who asks it comes to it",
	"net/monitor/watch.go net.Interfaces":       "it reads our own addresses, and sends nothing",
}

type sourcePackage struct{ path, dir string }

// shippedSources are the packages that are not for tests alone.
func shippedSources(t *testing.T) (all []sourcePackage) {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}\t{{.Dir}}", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !isOutside(path) {
			all = append(all, sourcePackage{path, dir})
		}
	}
	return all
}

// callsOf are the network calls that a file uses, as "package.Name". An http.Transport
// without a dialer of its own, and an http.Client without a transport, are such.
func callsOf(t *testing.T, name string) (used []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]string{} // by the name in this file
	for _, i := range file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		local := path[strings.LastIndexByte(path, '/')+1:]
		if i.Name != nil {
			local = i.Name.Name
		}
		imports[local] = path
	}
	pathOf := func(e ast.Expr) (path, name string) {
		if s, ok := e.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				return imports[x.Name], s.Sel.Name
			}
		}
		return "", ""
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if path, name := pathOf(n); slices.Contains(networkCalls[path], name) {
				used = append(used, path+"."+name)
			}
		case *ast.CompositeLit:
			path, name := pathOf(n.Type)
			needs := map[string]string{"Transport": "DialContext", "Client": "Transport"}[name]
			if path == "net/http" && needs != "" && !hasField(n, needs) {
				used = append(used, path+"."+name+" without "+needs)
			}
		}
		return true
	})
	return used
}

func hasField(lit *ast.CompositeLit, name string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		key, ok := kv.Key.(*ast.Ident)
		return ok && key.Name == name
	})
}

// Nothing but package egress opens a socket or looks up a name.
func TestOneWayOut(t *testing.T) {
	found := map[string]bool{}
	for _, p := range shippedSources(t) {
		files, err := filepath.Glob(filepath.Join(p.dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", p.path, len(files), err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			for _, call := range callsOf(t, f) {
				use := strings.TrimPrefix(p.path, module+"/") + "/" + filepath.Base(f) + " " + call
				found[use], found[p.path] = true, true
				if mayCall[p.path] == "" && exceptions[use] == "" {
					t.Errorf("%s: all traffic goes by package net/egress", use)
				}
			}
		}
	}
	for use, why := range mayCall {
		if !found[use] {
			t.Errorf("%s needs no exception (%s)", use, why)
		}
	}
	for use, why := range exceptions {
		if !found[use] {
			t.Errorf("%s needs no exception (%s)", use, why)
		}
	}
}

// The test above finds what it looks for.
func TestNetworkCallsAreFound(t *testing.T) {
	got := callsOf(t, "testdata/calls.go")
	want := []string{
		"net/http.DefaultClient", "net.Dialer", "net.DefaultResolver", "net/http.Client without Transport",
		"net/http.Transport without DialContext", "golang.org/x/sys/unix.Socket",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
