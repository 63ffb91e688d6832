package certs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	askTime = time.Second
	// verdicts bounds the names whose verdict is remembered, and asking the
	// questions under way; one more handshake is refused at once.
	verdicts = 4096
	asking   = 64
	// A yes is believed for longer than a no, which the operator may be mending
	// while a client tries again; a question that failed is asked again soon.
	yesFor   = time.Minute
	noFor    = 10 * time.Second
	brokeFor = 2 * time.Second
)

var (
	errNotAllowed = errors.New("the name is not allowed (tls.on_demand)")
	errBusy       = errors.New("too many at once")
)

// A gate says for which names there may be certificates on demand.
type gate struct {
	life   context.Context
	allow  nameSet // nil: any
	ask    string
	client *http.Client
	failed func(stage string)
	flight flight[error]

	mu    sync.Mutex
	known *simplelru.LRU[string, verdict]
}

// A verdict is what is believed of a name until a time.
type verdict struct {
	err   error // nil: allowed
	until time.Time
}

// newGate makes a gate that asks until life is over.
func newGate(life context.Context, o OnDemand, failed func(string)) *gate {
	known, err := simplelru.NewLRU[string, verdict](verdicts, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	g := &gate{life: life, ask: o.Ask, failed: failed, known: known, flight: flight[error]{most: asking}}
	if len(o.Allow) > 0 {
		g.allow = newNameSet(o.Allow)
	}
	g.client = newClient(askTime, &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second})
	return g
}

// allows reports whether name is among those that may be asked about.
func (g *gate) allows(name string) bool { return g.allow == nil || g.allow.has(name) }

// judge returns why there may be no certificate for name, which is a good one. It
// takes as long as ctx lets it, and never much more than a second.
func (g *gate) judge(ctx context.Context, name string) error {
	if !g.allows(name) {
		return errNotAllowed
	}
	if g.ask == "" {
		return nil
	}
	if err, known := g.recall(name); known {
		return err
	}
	c := g.flight.join(name, func() error { return g.question(name) })
	if c == nil {
		return fmt.Errorf("asking about a name: %w", errBusy)
	}
	err, ended := c.wait(ctx)
	if !ended {
		return ctx.Err()
	}
	return err
}

func (g *gate) recall(name string) (err error, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, known := g.known.Get(name)
	if !known || time.Now().After(v.until) {
		return nil, false
	}
	return v.err, true
}

// question asks about name, once for all who want to know, and remembers what it heard.
func (g *gate) question(name string) error {
	status, err := g.get(name)
	v := verdict{nil, time.Now().Add(yesFor)}
	switch {
	case g.life.Err() != nil:
		return g.life.Err()
	case err != nil:
		g.failed("ask")
		v = verdict{fmt.Errorf("asking tls.on_demand.ask: %w", err), time.Now().Add(brokeFor)}
	case status/100 == 5:
		g.failed("ask")
		v = verdict{fmt.Errorf("asking tls.on_demand.ask: it answered %d", status), time.Now().Add(brokeFor)}
	case status/100 != 2:
		v = verdict{errNotAllowed, time.Now().Add(noFor)}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known.Add(name, v)
	return v.err
}

func (g *gate) get(name string) (status int, err error) {
	u, err := url.Parse(g.ask)
	if err != nil {
		return 0, err
	}
	q := u.Query()
	q.Set("domain", name)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(g.life, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, err
	}
	res, err := g.client.Do(req)
	if err != nil {
		return 0, errors.Unwrap(err) // without the URL, which may hold a secret
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // so that the connection can be used again
	return res.StatusCode, nil
}

// close lets nobody ask any more, waits for questions under way, which end by their
// time, and gives up the connections.
func (g *gate) close() {
	if g != nil {
		g.flight.shut()
		g.client.CloseIdleConnections()
	}
}
