package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// A type that has more fields or methods than these does several jobs: each of them becomes a type of its own, with
// an invariant of its own.
const (
	mostFields  = 45
	mostMethods = 100
)

// size is how many fields and methods a type declares. An embedded type counts as one field, and its methods as its own.
type size struct{ fields, methods int }

// largeTypes are the types that may exceed a limit, each with its present size and a reason. They only shrink: lower a number
// with the type, and remove the line once it is below both limits. There are none now.
var largeTypes = map[string]struct {
	size
	reason string
}{}

// typeSizes returns the size of each type that ships, over the files of all systems.
func typeSizes(t *testing.T) map[string]size {
	t.Helper()
	fields, methods := map[string]int{}, map[string]map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "testdata"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), filepath.Join("..", "..")+string(filepath.Separator)))
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						name := dir + "." + spec.Name.Name
						fields[name] = max(fields[name], countFields(spec.Type))
					}
				}
			case *ast.FuncDecl:
				if name := receiver(decl); name != "" {
					name = dir + "." + name
					if methods[name] == nil {
						methods[name] = map[string]bool{}
					}
					methods[name][decl.Name.Name] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]size{}
	for name, n := range fields {
		sizes[name] = size{n, len(methods[name])}
	}
	return sizes
}

func countFields(typ ast.Expr) (n int) {
	structure, ok := typ.(*ast.StructType)
	if !ok {
		return 0
	}
	for _, f := range structure.Fields.List {
		n += max(len(f.Names), 1)
	}
	return n
}

// receiver is the name of the type whose method a declaration is, or "".
func receiver(decl *ast.FuncDecl) string {
	if decl.Recv == nil {
		return ""
	}
	typ := decl.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func TestTypesAreSmall(t *testing.T) {
	sizes := typeSizes(t)
	if len(sizes) < 100 {
		t.Fatalf("%d types found: the search is broken", len(sizes))
	}
	for name, now := range sizes {
		listed, excepted := largeTypes[name]
		large := now.fields > mostFields || now.methods > mostMethods
		switch {
		case large && !excepted:
			t.Errorf("%s has %d fields and %d methods, at most %d and %d are allowed: give a part of it a type of its own",
				name, now.fields, now.methods, mostFields, mostMethods)
		case !large && excepted:
			t.Errorf("%s has %d fields and %d methods: remove it from largeTypes", name, now.fields, now.methods)
		case excepted && (now.fields > max(listed.fields, mostFields) || now.methods > max(listed.methods, mostMethods)):
			t.Errorf("%s has grown to %d fields and %d methods, from %d and %d: largeTypes may only shrink",
				name, now.fields, now.methods, listed.fields, listed.methods)
		}
	}
	for name := range largeTypes {
		if _, ok := sizes[name]; !ok {
			t.Errorf("there is no type %s: remove it from largeTypes", name)
		}
	}
}
