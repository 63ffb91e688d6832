package test

import (
	"fmt"
	"testing"
	"time"
)

// engineSettings make a sidecar speak Engine.IO, with pings as given.
func engineSettings(interval, timeout time.Duration) string {
	return fmt.Sprintf("protocols: [websocket, http, engineio]\nengineio: {ping_interval: %v, ping_timeout: %v}\n", interval, timeout)
}

// patientEngine has no ping in the time of a test.
var patientEngine = engineSettings(25*time.Second, 20*time.Second)

// Our own Engine.IO clients. They meet what a stock one cannot be made to meet.
var (
	overPolling  = transport{"polling", dialPolling, 1005}
	overEngineWS = transport{"engine.io websocket", dialEngineWS, 1005}
	overUpgrade  = transport{"upgrading", dialUpgrade, 1005}
)

var engineTransports = []transport{overPolling, overEngineWS, overUpgrade}

func dialPolling(r *rig, id string) (line, error) {
	e := newEngine(r.front.Addr(), r.addr, "id="+id)
	return e, e.openPolling()
}

func dialEngineWS(r *rig, id string) (line, error) {
	e := newEngine(r.front.Addr(), r.addr, "id="+id)
	return e, e.openWebSocket()
}

// dialUpgrade begins by polling and upgrades behind the back of its user.
func dialUpgrade(r *rig, id string) (line, error) {
	e := newEngine(r.front.Addr(), r.addr, "id="+id)
	e.upgrading = true
	if err := e.openPolling(); err != nil {
		return nil, err
	}
	go e.upgrade() // where that fails, polling goes on
	return e, nil
}

// bootEngine runs what speaks Engine.IO before an upstream, and says where.
var bootEngine = func(t testing.TB, upstream, settings string) (addr string) {
	t.Helper()
	return boot(t, upstream, settings).addr
}

// newEngineRig is a rig whose clients speak Engine.IO.
func newEngineRig(t testing.TB, via transport, settings string) *rig {
	t.Helper()
	r := rigAround(t, func(upstream string) string { return bootEngine(t, upstream, settings) })
	r.via = via
	return r
}

// Both ends send at once while clients come in, upgrade and leave.
func TestEngineClientsOfOurOwn(t *testing.T) {
	t.Parallel()
	for _, via := range engineTransports {
		t.Run(via.name, func(t *testing.T) {
			t.Parallel()
			r := newEngineRig(t, via, patientEngine)
			for i := range 10 {
				k := r.open(t, fmt.Sprintf("s%d", i), 0)
				k.exchange(t, 200, 500)
				if via.name == "upgrading" {
					r.quiet(t, k, 0)
					if k.client.line.(*engine).ws == nil {
						t.Fatalf("session %d did not upgrade", i)
					}
				}
				k.exchange(t, 200, 500)
				k.finish(t)
			}
			r.wantClean(t)
		})
	}
}
