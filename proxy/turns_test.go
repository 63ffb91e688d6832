package proxy

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// One who takes the answers cannot have the loop do nothing but answer, while
// others wait for their turn: each takes longer than many records of data.
func TestKeyUpdatesInOneTurnAreBounded(t *testing.T) {
	overTLS, loops = true, startGroup(t)
	defer func() { overTLS, loops = false, nil }()
	w, r := connectRecords(t, setup{})
	go io.Copy(io.Discard, w.backend.r)
	message := rawFrame(0x82, strings.Repeat("m", 10_000), true)
	var all []byte
	for i := range message { // each with data, for crypto/tls itself ends a run of updates
		all = append(append(all, r.sealUpdate()...), r.seal(recordData, message[i:i+1])...)
	}
	go r.conn.Write(all) // fails when the relay ends it
	for {
		if _, _, err := r.next(); err != nil {
			break
		}
	}
	w.gone(t)
	if line := w.ended(t); !strings.Contains(line, "client_gone") || r.updates >= len(message)/2 {
		t.Errorf("%d of %d KeyUpdates were answered, and then: %s", r.updates, len(message), line)
	}
}

// Whoever makes turns long has shorter ones, until they are no longer that.
func TestLongTurnsAreMadeShorter(t *testing.T) {
	var l lane
	for i, c := range []struct {
		took time.Duration
		want int32
	}{
		{longTurn, turnBudget}, {longTurn + 1, turnBudget / 2}, {time.Second, turnBudget / 4}, {0, turnBudget / 2},
		{time.Second, turnBudget / 4}, {time.Second, turnBudget / 8}, {time.Second, turnBudget / 16},
		{time.Second, turnBudget / 16}, {0, turnBudget / 8}, {0, turnBudget / 4}, {0, turnBudget / 2},
		{0, turnBudget}, {0, turnBudget},
	} {
		l.turned(c.took)
		if l.turn(); l.budget != c.want {
			t.Errorf("turn %d: after one of %v the budget is %d; want %d", i, c.took, l.budget, c.want)
		}
	}
}

// A flood of KeyUpdates that ask for no answer makes its own turns shorter.
func TestKeyUpdatesMakeTurnsShorter(t *testing.T) {
	overTLS, loops = true, startGroup(t)
	defer func() { overTLS, loops = false, nil }()
	w, r := connectRecords(t, setup{})
	message := rawFrame(0x82, strings.Repeat("m", 20_000), true)
	var all []byte
	for i := range message {
		all = append(all, r.seal(recordHandshake, []byte{24, 0, 0, 1, 0})...)
		r.out = r.out.updated()
		all = append(all, r.seal(recordData, message[i:i+1])...)
	}
	go r.send(all)
	relay := w.live.list()[0].(*looped)
	var dearest uint8
	for part := range slices.Chunk(message, 100) {
		w.backend.wantBytes(part)
		relay.loop.Do(func() { dearest = max(dearest, relay.lanes[client].dear) })
	}
	if dearest == 0 {
		t.Error("all turns had the whole budget")
	}
}
