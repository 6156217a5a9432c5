package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/postern-io/postern"

// plan is the house: what each room may import of the others. A room covers the
// folders below it. Tests may look into any room.
var plan = map[string][]string{
	"registry":    {},
	"authn":       {"registry"},
	"authz":       {"registry"},
	"certs":       {"registry"},
	"messaging":   {"registry"},
	"adapters":    {"registry", "authn", "authz", "certs", "messaging"},
	"store":       {"registry"},
	"cmd/postern": {"registry", "authn", "authz", "certs", "messaging", "adapters", "store"},
	"test":        {"registry", "certs"},

	// The story suite stands where its doors are, but it builds a whole house.
	"adapters/adaptertest": {"registry", "authn", "authz", "certs", "messaging", "adapters", "store"},
	"bench":                {"registry", "authn", "authz", "certs", "messaging", "adapters", "store"},
}

// roomOf returns the innermost room that holds a folder.
func roomOf(folder string) (in string, ok bool) {
	for room := range plan {
		if (folder == room || strings.HasPrefix(folder, room+"/")) && len(room) > len(in) {
			in, ok = room, true
		}
	}
	return in, ok
}

func TestImportsPointDown(t *testing.T) {
	eachGoFile(t, func(t *testing.T, file string) {
		room, ok := roomOf(path.Dir(file))
		if !ok {
			t.Errorf("%s is in no room of the plan", file)
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", file), nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, i := range parsed.Imports {
			imported := strings.Trim(i.Path.Value, `"`)
			folder, ours := strings.CutPrefix(imported, module+"/")
			if !ours {
				if room == "registry" && strings.Contains(strings.Split(imported, "/")[0], ".") {
					t.Errorf("%s imports %s: registry imports the standard library alone", file, imported)
				}
				continue
			}
			other, _ := roomOf(folder)
			if other != room && !contains(plan[room], other) {
				t.Errorf("%s imports %s: an arrow from %s to %s is not in the plan", file, folder, room, other)
			}
		}
	})
}

// No room reads the environment but the command's config.
func TestEnvironmentIsReadInOnePlace(t *testing.T) {
	eachGoFile(t, func(t *testing.T, file string) {
		if folder := path.Dir(file); strings.HasSuffix(folder, "test") || folder == "bench" || file == "cmd/postern/main.go" {
			return // helpers of tests, and where the environment is handed in
		}
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"os.Getenv(", "os.LookupEnv(", "os.Environ("} {
			if strings.Contains(string(text), call) {
				t.Errorf("%s calls %s…): settings come from cmd/postern/config.go", file, call)
			}
		}
	})
}

func TestEveryPackageHasADoc(t *testing.T) {
	docs := map[string]bool{}
	eachGoFile(t, func(t *testing.T, file string) {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		docs[path.Dir(file)] = docs[path.Dir(file)] || parsed.Doc != nil
	})
	for folder, has := range docs {
		if !has {
			t.Errorf("package %s has no doc", folder)
		}
	}
}

// eachGoFile calls f with every Go file that is no test, by its path from the
// repository's root.
func eachGoFile(t *testing.T, f func(*testing.T, string)) {
	t.Helper()
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "node_modules" || name == "data" || strings.HasPrefix(name, ".") && name != ".." && name != ".") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			rel, err := filepath.Rel("../..", p)
			if err != nil {
				return err
			}
			f(t, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
