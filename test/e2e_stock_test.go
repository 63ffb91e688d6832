package test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sidecar/test/faultlink"
)

// A mode is how a stock client is told to travel.
type mode struct {
	name       string
	transports []string
}

var modes = []mode{
	{"polling", []string{"polling"}},
	{"websocket", []string{"websocket"}},
	{"upgrading", []string{"polling", "websocket"}},
}

// overStock is a transport by clients of d, which connect to addr or, if that is
// empty, to the front link.
func overStock(d *driver, m mode, addr string) transport {
	return transport{m.name, func(r *rig, id string) (line, error) {
		to := addr
		if to == "" {
			to = r.front.Addr()
		}
		c, err := d.open("http://"+to, map[string]any{"transports": m.transports, "query": map[string]string{"id": id}})
		if err != nil {
			return nil, err
		}
		if first, ok := c.await("open"); !ok {
			return nil, errors.New(first.String())
		}
		return c, nil
	}, 1005}
}

// travel is one session of a stock client: traffic both ways from the first
// moment on, through the upgrade if there is one, then a megabyte each way, text
// and binary in turn, and a clean end.
func (r *rig) travel(t *testing.T, d *driver, m mode, addr, id string) {
	t.Helper()
	r.via = overStock(d, m, addr)
	k := r.open(t, id, 0)
	c := k.client.line.(*stock)
	if m.name == "upgrading" {
		k.upgrades(t, c)
	}
	k.exchange(t, 64, 16<<10)
	k.exchange(t, 2, 300_000)
	k.finish(t)
	for _, e := range c.saw() {
		if e.What != "open" && e.What != "close" && !(e.What == "upgrade" && m.name == "upgrading") {
			t.Errorf("the client reported %v", e)
		}
	}
}

// upgrades keeps both ends sending, as fast as the messages arrive, until the client has upgraded, and beyond.
func (k *talk) upgrades(t *testing.T, c *stock) {
	t.Helper()
	upgraded := make(chan report, 1)
	go func() {
		up, _ := c.await("upgrade")
		upgraded <- up
	}()
	for rounds := 1; ; rounds++ {
		k.exchange(t, 20, 400)
		select {
		case up := <-upgraded:
			t.Logf("%v behind %d messages of %d", up, up.Got, 20*rounds)
			if up.What != "upgrade" {
				t.Errorf("the client reported %v; want an upgrade", up)
			}
			return
		default:
		}
	}
}

// A path with some length, so that an upgrade takes its time.
func (r *rig) lengthen() {
	r.front.Set(faultlink.Both, faultlink.Fault{Delay: 20 * time.Millisecond})
}

// eachStock plays f in every mode, with both versions of the client in Node.
func eachStock(t *testing.T, f func(t *testing.T, d *driver, m mode)) {
	for _, pkg := range stockPackages {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			d := stockInNode(t, pkg)
			for _, m := range modes {
				t.Run(m.name, func(t *testing.T) {
					t.Parallel()
					f(t, d, m)
				})
			}
		})
	}
}

func TestStockClientInNode(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, d *driver, m mode) {
		r := newEngineRig(t, transport{}, patientEngine)
		r.lengthen()
		r.travel(t, d, m, "", "s")
		r.wantClean(t)
	})
}

// Pings come on a busy link too: a stock client that misses one gives up.
func TestStockClientIsPingedWhileBusy(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, d *driver, m mode) {
		r := newEngineRig(t, overStock(d, m, ""), engineSettings(300*time.Millisecond, time.Second))
		k := r.open(t, "s", 0)
		start := time.Now()
		for time.Since(start) < 2*time.Second {
			k.exchange(t, 50, 200)
		}
		k.finish(t)
		r.wantClean(t)
	})
}

// What goes in small pieces, each of them late, is read as if it came at once.
func TestStockClientOverSmallPieces(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, d *driver, m mode) {
		r := newEngineRig(t, overStock(d, m, ""), patientEngine)
		r.front.Set(faultlink.Both, faultlink.Fault{Piece: 5})
		k := r.open(t, "s", 0)
		k.exchange(t, 200, 500)
		k.finish(t)
		r.wantClean(t)
	})
}

// 8 kB/s: it takes long, and nothing gives up.
func TestStockClientAt8kB(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, d *driver, m mode) {
		r := newEngineRig(t, overStock(d, m, ""), engineSettings(2*time.Second, 8*time.Second))
		r.front.Set(faultlink.Both, faultlink.Fault{Rate: 8000})
		k := r.open(t, "s", 0)
		k.exchange(t, 20, 800) // 16 kB each way: two seconds and more
		k.finish(t)
		r.wantClean(t)
	})
}

// Resets and ends in the midst of traffic: both ends are told, and no loss is silent.
func TestStockClientReset(t *testing.T) {
	t.Parallel()
	eachStock(t, func(t *testing.T, d *driver, m mode) {
		r := newEngineRig(t, overStock(d, m, ""), engineSettings(time.Second, time.Second))
		for i, how := range []faultlink.Ending{faultlink.Reset, faultlink.FIN} {
			k := r.open(t, fmt.Sprintf("s%d", i), 20)
			// Fewer bytes than a POST may have: clients reckon binary a little too small.
			k.client.offer(300, 1000)
			k.backend.offer(300, 1000)
			within(t, patience, "some traffic", k.client.full)
			r.harass(k, how)
			within(t, patience, "the backend's being told", k.backend.ended)
			k.told()
			t.Logf("the client: %v; the backend: %v", k.client.err, k.backend.err)
		}
		r.wantHonest(t)
	})
}

// harass ends all connections until the client knows: one that polls may have none
// for the moment.
func (r *rig) harass(k *talk, how faultlink.Ending) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		r.front.End(faultlink.Both, how)
		select {
		case <-k.client.ended:
			return
		case <-again.C:
		}
	}
}
