package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/admin"
	"sidecar/proxy"
)

func TestReadinessOfUpstreams(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "routes: [{path: /up, upstream: %s}, {path: /down, upstream: ws://127.0.0.1:1}]", a.ws()))
	eventually(t, "the start", s.started.Load)
	if status, body := s.opsGet("/readyz?verbose"); status != 200 || body != "[+] serving\nok\n" {
		t.Errorf("without check_upstream: %d %q; want 200", status, body)
	}
	c := s.boot
	c.Ops.CheckUpstream = true
	if err := s.Reload(c); err != nil {
		t.Fatal(err)
	}
	status, body := s.opsGet("/readyz?verbose")
	if status != 503 || !strings.Contains(body, "[+] upstream of /up\n") || !strings.Contains(body, "[-] upstream of /down: dialing backend") {
		t.Errorf("with it: %d %q; want 503 and which", status, body)
	}
}

func TestNothingIsReadyBeforeRun(t *testing.T) {
	s, err := Environment{Stderr: new(safeBuffer)}.New(parse(t, "upstream: ws://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.serving(t.Context()); err == nil {
		t.Error("ready before Run")
	}
}

// series are the names and labels of what the ops listener shows of ours.
func (s *running) series() []string {
	s.t.Helper()
	_, text := s.opsGet("/metrics")
	var all []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "sidecar_") {
			all = append(all, line[:strings.LastIndex(line, " ")])
		}
	}
	slices.Sort(all)
	return all
}

func TestStrangersAddNoSeries(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "routes: [{path: /ws, upstream: %s, limits: {handshakes_per_second: off}}]", a.ws()))
	before := s.series()
	c := dial(t, s.addr())
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	for i := range 10_000 { // pipelined in small lots over one connection
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: h%d.example\r\nOrigin: https://%d.example\r\nUser-Agent: %d\r\n\r\n", i, i, i, i)
		if i%100 == 99 {
			drainAnswers(t, c, 100)
		}
	}
	for i := range 100 {
		if _, res, err := s.socket(fmt.Sprintf("/ws/%d", i), http.Header{"Origin": {fmt.Sprintf("https://%d.example", i)}}); err == nil || res.StatusCode != 403 {
			t.Fatalf("a foreign origin got %v, %v; want 403", res, err)
		}
	}
	if after := s.series(); !slices.Equal(before, after) {
		t.Errorf("%d series became %d", len(before), len(after))
	}
	_, text := s.opsGet("/metrics")
	for _, want := range []string{
		"sidecar_requests_refused_total{reason=\"no_route\"} 10000\n",
		"sidecar_handshakes_refused_total{reason=\"origin\",route=\"/ws\"} 100\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q", want)
		}
	}
}

// What package proxy reports is in the fixed sets of package admin.
func TestEveryCauseHasItsOwnSeries(t *testing.T) {
	var _ proxy.Observer = (*admin.Route)(nil)
	s := start(t, Environment{}, parse(t, "upstream: ws://127.0.0.1:1"))
	r := s.metrics.Route("/")
	for _, cause := range proxy.Causes {
		r.Opened()
		r.Closed(cause, 0)
	}
	_, text := s.opsGet("/metrics")
	for _, cause := range proxy.Causes {
		if want := fmt.Sprintf("sidecar_connections_closed_total{cause=%q,route=\"/\"} 1\n", cause); !strings.Contains(text, want) {
			t.Errorf("missing %q", want)
		}
	}
	if want := "sidecar_connections_closed_total{cause=\"other\",route=\"/\"} 0\n"; !strings.Contains(text, want) {
		t.Errorf("missing %q", want)
	}
}

func TestMetricsTellOfAConnection(t *testing.T) {
	a := newApp(t)
	s := start(t, Environment{}, parse(t, "upstream: %s", a.ws()))
	c := s.mustSocket("/ws")
	echoes(t, c, "12345")
	has := func(want string) func() bool {
		return func() bool { _, text := s.opsGet("/metrics"); return strings.Contains(text, want+"\n") }
	}
	eventually(t, "one open", has(`sidecar_connections{route="/"} 1`))
	_ = c.Close()
	eventually(t, "none open", has(`sidecar_connections{route="/"} 0`))
	for _, want := range []string{
		`sidecar_connections_opened_total{route="/"} 1`, `sidecar_backend_dials_total{outcome="ok",route="/"} 1`,
		`sidecar_relayed_messages_total{direction="up",route="/"} 1`, `sidecar_relayed_messages_total{direction="down",route="/"} 1`,
		`sidecar_connections_closed_total{cause="client_gone",route="/"} 1`,
		`sidecar_descriptors_max ` + fmt.Sprint(s.budget.files),
	} {
		eventually(t, want, has(want))
	}
}

func TestOpsListenerIsBoundedByItself(t *testing.T) {
	s := start(t, Environment{Descriptors: 128 + 1 + 20}, parse(t, "upstream: ws://127.0.0.1:1"))
	for range 20 { // twice what the public side takes
		dial(t, s.addr())
	}
	eventually(t, "a full house", func() bool { return s.slots.open() == 10 })
	if status, _ := s.opsGet("/livez"); status != 200 {
		t.Errorf("livez %d; want 200", status)
	}
}
