package admin

import (
	"fmt"
	"testing"
	"time"

	"sidecar/session"
)

func TestSessionsAreCounted(t *testing.T) {
	m := newTestMetrics()
	held, bound := int64(3<<10), int64(0)
	m.SessionMemory(func() int64 { return held }, func() int64 { return bound })
	s := m.Sessions("/chat", "engineio")
	text, before := scrape(t, m)
	for _, reason := range session.Reasons {
		wantLines(t, text, fmt.Sprintf(`sidecar_sessions_ended_total{protocol="engineio",reason=%q,route="/chat"} 0`, reason))
	}
	wantLines(t, text, `sidecar_session_memory_max_bytes +Inf`)
	s.Opened()
	s.Opened()
	s.Attached(2 * time.Second)
	s.Attached(0)
	s.Passed(true, 100)
	s.Passed(true, 11)
	s.Passed(false, 50)
	s.Skipped(3)
	s.Paused()
	s.Ended(session.Expired, 5*time.Second)
	bound = 1 << 20
	text, after := scrape(t, m)
	if after != before {
		t.Errorf("%d series became %d", before, after)
	}
	wantLines(t, text,
		`sidecar_sessions{protocol="engineio",route="/chat"} 1`,
		`sidecar_sessions_opened_total{protocol="engineio",route="/chat"} 2`,
		`sidecar_sessions_ended_total{protocol="engineio",reason="expired",route="/chat"} 1`,
		`sidecar_sessions_ended_total{protocol="engineio",reason="other",route="/chat"} 0`,
		`sidecar_session_age_seconds_sum{protocol="engineio",route="/chat"} 5`,
		`sidecar_session_away_seconds_sum{protocol="engineio",route="/chat"} 2`,
		`sidecar_session_away_seconds_count{protocol="engineio",route="/chat"} 1`,
		`sidecar_session_bytes_total{direction="up",protocol="engineio",route="/chat"} 111`,
		`sidecar_session_bytes_total{direction="down",protocol="engineio",route="/chat"} 50`,
		`sidecar_session_messages_total{direction="up",protocol="engineio",route="/chat"} 2`,
		`sidecar_session_messages_total{direction="down",protocol="engineio",route="/chat"} 1`,
		`sidecar_session_skipped_messages_total{protocol="engineio",route="/chat"} 3`,
		`sidecar_session_pauses_total{protocol="engineio",route="/chat"} 1`,
		`sidecar_session_memory_bytes 3072`,
		`sidecar_session_memory_max_bytes 1.048576e+06`)
}
