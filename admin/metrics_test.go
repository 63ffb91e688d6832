package admin

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// scrape is the metrics' text, and its lines that are series.
func scrape(t *testing.T, m *Metrics) (text string, series int) {
	t.Helper()
	status, text := ask(Handler(m, fixed()), "GET", "/metrics")
	if status != 200 {
		t.Fatalf("/metrics = %d %q", status, text)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "sidecar_") {
			series++
		}
	}
	return text, series
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains("\n"+text, "\n"+l+"\n") {
			t.Errorf("missing %q", l)
		}
	}
}

func TestSeriesExistBeforeAnythingHappens(t *testing.T) {
	m := newTestMetrics()
	m.Route("chat.example.com/chat")
	text, _ := scrape(t, m)
	wantLines(t, text,
		`sidecar_build_info{goversion="go1",revision="abc",version="v1.2.3"} 1`,
		`sidecar_client_sockets 7`,
		`sidecar_connections{route="chat.example.com/chat"} 0`,
		`sidecar_connections_closed_total{cause="backend_gone",route="chat.example.com/chat"} 0`,
		`sidecar_handshakes_refused_total{reason="origin",route="chat.example.com/chat"} 0`,
		`sidecar_backend_dials_total{outcome="timeout",route="chat.example.com/chat"} 0`,
		`sidecar_relayed_bytes_total{direction="up",route="chat.example.com/chat"} 0`,
		`sidecar_ping_rtt_seconds_count{hop="client",route="chat.example.com/chat"} 0`,
		`sidecar_requests_refused_total{reason="no_route"} 0`,
		`sidecar_accept_pauses_total 0`,
		`sidecar_config_reloads_total{result="failed"} 0`,
		`sidecar_config_last_reload_ok 1`,
		`sidecar_draining 0`)
	for _, name := range []string{"go_goroutines ", "process_open_fds "} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("missing %q", name)
		}
	}
}

func TestEventsAreCounted(t *testing.T) {
	m := newTestMetrics()
	r := m.Route("/")
	r.Refused("origin")
	r.Dialed("ok", 3*time.Millisecond)
	r.Opened()
	r.Opened()
	r.Relayed(true, 100, 2)
	r.Relayed(false, 50, 1)
	r.Answered("client", 40*time.Millisecond)
	r.Closed("client_close", 5*time.Second)
	m.Paused()
	m.Draining()
	m.Reloaded(false)
	m.Limit("connections", 500)
	m.Limit("per_address", -1)
	m.Descriptors(1024, 400)
	text, _ := scrape(t, m)
	wantLines(t, text,
		`sidecar_handshakes_refused_total{reason="origin",route="/"} 1`,
		`sidecar_backend_dials_total{outcome="ok",route="/"} 1`,
		`sidecar_backend_dial_seconds_sum{route="/"} 0.003`,
		`sidecar_connections{route="/"} 1`,
		`sidecar_connections_opened_total{route="/"} 2`,
		`sidecar_connections_closed_total{cause="client_close",route="/"} 1`,
		`sidecar_connection_age_seconds_sum{route="/"} 5`,
		`sidecar_relayed_bytes_total{direction="up",route="/"} 100`,
		`sidecar_relayed_bytes_total{direction="down",route="/"} 50`,
		`sidecar_relayed_messages_total{direction="up",route="/"} 2`,
		`sidecar_ping_rtt_seconds_sum{hop="client",route="/"} 0.04`,
		`sidecar_accept_pauses_total 1`,
		`sidecar_draining 1`,
		`sidecar_config_reloads_total{result="failed"} 1`,
		`sidecar_config_last_reload_ok 0`,
		`sidecar_limit{limit="connections"} 500`,
		`sidecar_limit{limit="per_address"} +Inf`,
		`sidecar_descriptors_max 1024`,
		`sidecar_client_sockets_max 400`)
	m.Reloaded(true)
	text, _ = scrape(t, m)
	wantLines(t, text, `sidecar_config_last_reload_ok 1`, `sidecar_config_reloads_total{result="ok"} 1`)
}

func TestStrangersAddNoSeries(t *testing.T) {
	m := newTestMetrics()
	r := m.Route("/")
	_, before := scrape(t, m)
	for i := range 10_000 {
		s := fmt.Sprintf("https://%d.example\n{}\x1b", i)
		r.Refused(s)
		r.Dialed(s, 0)
		r.Opened()
		r.Closed(s, 0)
		r.Answered(s, 0)
		m.Refused(s)
	}
	text, after := scrape(t, m)
	if after != before {
		t.Errorf("%d series became %d", before, after)
	}
	wantLines(t, text,
		`sidecar_connections_closed_total{cause="other",route="/"} 10000`,
		`sidecar_handshakes_refused_total{reason="other",route="/"} 10000`,
		`sidecar_requests_refused_total{reason="other"} 10000`)
}
