package test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sidecar/client/resumable"
	"sidecar/session"
)

// operations is docs/operations.md from the heading to the next.
func operations(t *testing.T, heading string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/operations.md has no part %q", heading)
	}
	part, _, _ := strings.Cut(rest, "\n## ")
	return part
}

var code = regexp.MustCompile("`([^`]+)`")

// cells is what stands as code in the nth column of the tables in text, sorted.
func cells(text string, n int) []string {
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		if columns := strings.Split(line, "|"); strings.HasPrefix(line, "|") && len(columns) > n {
			for _, m := range code.FindAllStringSubmatch(columns[n], -1) {
				found[m[1]] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Every metric of ours is in the table with its labels and their values, and
// nothing else is.
func TestMetricsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	r, p := newProgramRig(t, "protocols: [websocket, resume, engineio, http]\n")
	r.open(t, "s", 0)
	text := fetch(t, "http://"+p.ops+"/metrics")
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (sidecar_\w+) `).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	table := operations(t, "Metrics")
	if got := cells(table, 1); !slices.Equal(got, names) || len(names) < 10 {
		t.Errorf("the table has %v;\nthe program %v", got, names)
	}
	rows := rowsOf(table)
	ends := append(cells(operations(t, "How connections end"), 1), "client_close", "backend_close")
	for _, m := range regexp.MustCompile(`(?m)^(sidecar_\w+?)(?:_bucket|_sum|_count)?\{(.*)\} `).FindAllStringSubmatch(text, -1) {
		for _, l := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			checkLabel(t, rows, ends, m[1], l[1], l[2])
		}
	}
}

// fetch is a body, with the chunks that it came in put together.
func fetch(t *testing.T, url string) string {
	t.Helper()
	c := http.Client{Timeout: patience}
	defer c.CloseIdleConnections()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v", url, res.StatusCode, err)
	}
	return string(b)
}

// rowsOf is the table's rows by what their first column has as code.
func rowsOf(table string) map[string]string {
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		if m := code.FindStringSubmatch(line); m != nil && strings.HasPrefix(line, "| `") {
			rows[m[1]] = line
		}
	}
	return rows
}

func checkLabel(t *testing.T, rows map[string]string, ends []string, metric, label, value string) {
	t.Helper()
	if label == "le" {
		return // of histograms
	}
	row := rows[metric]
	if !slices.Contains(cells(row, 2), label) {
		t.Errorf("the row of %s does not have the label %q", metric, label)
	}
	switch label {
	case "route", "version", "revision", "goversion": // not from a fixed set
		return
	case "cause":
		if slices.Contains(ends, value) {
			return
		}
	case "protocol":
		row = rows["sidecar_sessions"]
	case "direction":
		row = rows["sidecar_relayed_bytes_total"]
	}
	if !slices.Contains(cells(row, 3), value) {
		t.Errorf("the row of %s does not have the value %q of %s", metric, value, label)
	}
}

// The line of a connection's end has the fields of the table, no more and no fewer.
func TestLogLineIsThatOfTheTable(t *testing.T) {
	t.Parallel()
	r, p := newProgramRig(t, "")
	r.open(t, "s", 0).close()
	line := map[string]any{}
	if err := json.Unmarshal([]byte(p.log.line(t, `"msg":"connection ended"`)), &line); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"time", "level", "msg"} { // of every line
		delete(line, name)
	}
	want := slices.Sorted(maps.Keys(line))
	if got := cells(operations(t, "The log"), 1); !slices.Equal(got, want) {
		t.Errorf("the table has %v; the program %v", got, want)
	}
}

// So has the line of a session's end, whatever its protocol, and its transport is one
// that the table names.
func TestSessionsLogLineIsThatOfTheTable(t *testing.T) {
	t.Parallel()
	for transport, come := range map[string]func(*testing.T, *program){
		"polling": func(t *testing.T, p *program) { // and never again
			fetch(t, "http://"+p.addr+"/engine.io/?EIO=4&transport=polling")
		},
		"websocket": func(t *testing.T, p *program) { converse(t, p, resumable.WebSocket) },
		"stream":    func(t *testing.T, p *program) { converse(t, p, resumable.Stream) },
		"poll":      func(t *testing.T, p *program) { converse(t, p, resumable.Poll) },
	} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			_, p := newProgramRig(t, "protocols: [engineio, resume]\nengineio: {ping_interval: 100ms, ping_timeout: 100ms}\n")
			come(t, p)
			line := map[string]any{}
			if err := json.Unmarshal([]byte(p.log.line(t, `"msg":"session ended"`)), &line); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"time", "level", "msg"} { // of every line
				delete(line, name)
			}
			table := operations(t, "A session's line in the log")
			want := slices.Sorted(maps.Keys(line))
			if got := cells(table, 1); !slices.Equal(got, want) {
				t.Errorf("the table has %v; the program %v", got, want)
			}
			if got := line["transport"]; got != transport || !slices.Contains(cells(rowsOf(table)["transport"], 2), transport) {
				t.Errorf("the transport is %q; want %q, and the table to name it", got, transport)
			}
		})
	}
}

// converse has one session by one transport, from its opening to its close.
func converse(t *testing.T, p *program, by resumable.Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := resumable.Dial(ctx, "ws://"+p.addr+"/", &resumable.Options{Transports: []resumable.Transport{by}, CloseTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Close(1000, "bye"); err != nil {
		t.Fatal(err)
	}
}

// What a session can end by is in the table, and nothing else.
func TestSessionsEndAsTheTableSays(t *testing.T) {
	want := slices.Sorted(slices.Values(session.Reasons))
	if got := cells(operations(t, "How sessions end"), 1); !slices.Equal(got, want) {
		t.Errorf("the table has %v; the program %v", got, want)
	}
}

// The exit codes are those that the program itself tells of.
func TestExitCodesAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(must(t, raced), "help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, told, _ := strings.Cut(string(out), "Exit codes:\n")
	var got, want []string
	for _, m := range regexp.MustCompile(`(?m)^    (\d)  `).FindAllStringSubmatch(told, -1) {
		want = append(want, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d) \|`).FindAllStringSubmatch(operations(t, "Exit codes"), -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("the table has %v; sidecar help %v", got, want)
	}
}
