package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the architecture: each package, and the packages of ours that it
// may import. Arrows go down only.
var mayImport = map[string][]string{
	"cmd/sidecar": {"config", "server", "demo"},
	"server":      {"config", "admin", "access", "proxy", "heartbeat", "loop", "certs", "session", "polling", "protocol/engineio", "protocol/resume"},
	// config composes the settings of the packages that obey them.
	"config": {"admin", "access", "certs", "heartbeat", "polling", "proxy", "session",
		"protocol/engineio", "protocol/resume", "protocol/socketio", "protocol/sockjs"},
	"admin":             {"session"},
	"demo":              {"client/resumable"}, // a backend that knows nothing of us, and clients
	"protocol/engineio": {"access", "polling", "proxy", "session", "heartbeat"},
	"protocol/sockjs":   {"access", "polling", "proxy", "session", "heartbeat"},
	"protocol/resume":   {"protocol/resume/wire", "access", "polling", "proxy", "session", "heartbeat"},
	"protocol/socketio": {"protocol/engineio", "session"},
	"proxy":             {"access", "loop", "session", "heartbeat", "regular"},
	"polling":           {"access", "loop", "session", "heartbeat"},
	"session":           {},
	"heartbeat":         {},
	"loop":              {},
	"access":            {},
	"certs":             {"regular"},
	"regular":           {},
	"bench":             {"bench/figure", "bench/load", "bench/proc"}, // it runs the program, as a stranger would
	"bench/figure":      {},
	"bench/load":        {},
	"bench/proc":        {},
	"test":              {}, // its tests may import all
	"test/authority":    {},
	"test/faultlink":    {},
	"test/history":      {},

	"client/resumable": {"protocol/resume/wire"}, // for programs: nothing of the server comes along

	"protocol/resume/wire": {}, // what clients share with the server, and must not bring the server along
}

// mayName says which packages of ours may import a library, in code that is not
// a test: each is hidden behind one package, so that it can be replaced there.
var mayName = map[string][]string{
	"github.com/gorilla/websocket":           {"proxy", "demo", "client/resumable"},
	"github.com/prometheus/":                 {"admin"},
	"gopkg.in/yaml":                          {"config"},
	"github.com/hashicorp/golang-lru/":       {"access", "certs", "session", "protocol/engineio"},
	"github.com/caddyserver/certmagic":       {"certs"},
	"github.com/mholt/acmez/":                {"certs"},
	"go.uber.org/zap":                        {"certs"},
	"github.com/pires/go-proxyproto":         {"access"},
	"golang.org/x/crypto/ocsp":               {"certs"},
	"golang.org/x/time/":                     {"access"},
	"golang.org/x/sys/":                      {"loop", "proxy", "server", "bench/load", "bench/proc"},
	"github.com/santhosh-tekuri/jsonschema/": {},
}

func TestImportsGoDownOnly(t *testing.T) {
	seen := map[string]bool{}
	for pkg, imports := range packages(t) {
		seen[pkg] = true
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %s is not in the table", pkg)
		}
		for _, name := range imports {
			if dep, ours := strings.CutPrefix(name, "sidecar/"); ours && !slices.Contains(allowed, dep) {
				t.Errorf("%s imports %s, which the table does not allow", pkg, dep)
			}
		}
	}
	for pkg, allowed := range mayImport {
		for _, dep := range append([]string{pkg}, allowed...) {
			if !seen[dep] {
				t.Errorf("the table names %s, which is no package", dep)
			}
		}
	}
}

func TestLibrariesStayInTheirPackages(t *testing.T) {
	for pkg, imports := range packages(t) {
		for _, name := range imports {
			first, _, _ := strings.Cut(name, "/")
			if !strings.Contains(first, ".") {
				continue
			}
			if owners, known := owners(name); !known || !slices.Contains(owners, pkg) {
				t.Errorf("%s imports %s; only %q may", pkg, name, owners)
			}
		}
	}
}

func owners(library string) (packages []string, known bool) {
	for prefix, packages := range mayName {
		if strings.HasPrefix(library, prefix) {
			return packages, true
		}
	}
	return nil, false
}

// packages are ours, with what the code that is not a test imports.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		all[strings.TrimPrefix(f[0], "sidecar/")] = f[1:]
	}
	return all
}
