package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sidecar/client/resumable"
	"sidecar/protocol/resume/wire"
)

// A request is a poll of a loner's.
type request struct {
	body  []byte
	token string
	data  bool // it took messages along
}

// hello is a poll that attaches.
func (l *loner) hello() request {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation++
	got := l.in.Ack(l.in.Ack(0).Ahead)
	h := &wire.Hello{
		Version: wire.Version, Attempt: l.attempt, Generation: l.generation, Use: l.generation, Session: l.session, Token: l.token,
		Position: wire.Position{Received: got.Received, Partial: got.Partial, Lowest: l.gone + 1}, Window: uint64(l.o.Window),
	}
	b, err := h.Append(nil)
	if err != nil {
		panic(err)
	}
	return request{body: b, token: l.token}
}

// next is a further poll, with what there is to go up from where the server is, or, where
// more is on the way, from behind that. A PING has it answered at once, where more may be
// written meanwhile.
func (l *loner) next(more bool) request {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.at
	if more && l.went > from.Received {
		from = wire.Ack{Received: l.went}
	}
	x := request{token: l.token, data: l.hasUpLocked(from)}
	x.body = wire.Continue{Generation: l.generation, Session: l.session, Token: l.token}.Append(nil)
	x.body = l.in.Ack(l.in.Ack(0).Ahead).Append(x.body)
	if x.data || l.ping {
		l.ping = false
		x.body = wire.AppendPing(x.body, nil)
	}
	n, whole, offset := from.Next(), true, int(from.Partial)
	for ; n <= l.lastLocked(); n++ {
		m := l.out[n-l.gone-1]
		x.body, _, whole = wire.AppendMessage(x.body, n, m.kind == resumable.Binary, m.data, offset, wire.MaxBody-len(x.body))
		if offset = 0; !whole {
			break
		}
		if l.rash && n >= from.Next()+2 { // so that there is one to overtake it
			n++
			whole = false
			break
		}
	}
	l.went = n - 1
	if whole && l.bye != nil && n <= l.bye.Number {
		x.body = l.bye.Append(x.body)
		l.went = l.bye.Number
	}
	return x
}

func (l *loner) lastLocked() uint64 { return l.gone + uint64(len(l.out)) }

// hasUpLocked reports whether there is something behind that.
func (l *loner) hasUpLocked(from wire.Ack) bool {
	return from.Next() <= l.lastLocked() || l.bye != nil && from.Next() <= l.bye.Number
}

// poll polls. One that carries messages goes out beside one that is held without, which
// the server then answers; no two with messages, but of a rash one.
func (l *loner) poll() error {
	ctx, cancel := context.WithCancel(l.ctx)
	answers := make(chan error)
	flying, loaded := 0, 0
	defer func() {
		cancel()
		for ; flying > 0; flying-- {
			<-answers
		}
	}()
	for failed := 0; ; {
		if flying == 0 || flying == 1 && l.hasMore(loaded > 0) {
			x := l.next(loaded > 0)
			flying++
			if x.data {
				loaded++
			}
			go func() {
				err := l.post(ctx, x)
				if x.data {
					err = &laden{err}
				}
				answers <- err
			}()
			continue
		}
		select {
		case err := <-answers:
			flying--
			if x, ok := err.(*laden); ok {
				err, loaded = x.error, loaded-1
			}
			if failed++; err == nil {
				failed = 0
			}
			if failed == 2 || l.why() != nil {
				return err
			}
			l.mu.Lock()
			l.ping = l.ping || err != nil // the answer had an ACK, which only a request has said again
			l.mu.Unlock()
		case <-l.news:
		}
	}
}

// laden is how a poll with messages ended.
type laden struct{ error }

// hasMore reports whether there is something for another poll, where messages are on
// the way already, or not.
func (l *loner) hasMore(loaded bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if loaded {
		return l.rash && l.hasUpLocked(wire.Ack{Received: max(l.went, l.at.Next()-1)})
	}
	return l.hasUpLocked(l.at)
}

var errSlow = errors.New("no answer in time")

// post makes a request and takes its answer, as far as it comes.
func (l *loner) post(ctx context.Context, x request) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	limit := l.limit
	l.mu.Unlock()
	late := time.AfterFunc(limit, func() { cancel(errSlow) })
	defer late.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(x.body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", wire.RequestType)
	a, err := l.http.Do(r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if got := a.Header.Get("Content-Type"); a.StatusCode != http.StatusOK || got != wire.ContentType {
		return fmt.Errorf("answered with %d and %q", a.StatusCode, got)
	}
	var split wire.Splitter
	buf := make([]byte, 4<<10)
	for {
		n, err := a.Body.Read(buf)
		late.Reset(limit)
		if bad := l.take(&split, buf[:n], x.token); bad != nil {
			return bad
		}
		switch {
		case err == io.EOF && split.Held() == 0:
			return nil
		case err != nil:
			return fmt.Errorf("reading an answer: %w", err)
		}
	}
}

// take takes what has come of an answer.
func (l *loner) take(split *wire.Splitter, p []byte, token string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.tellLocked()
	for len(p) > 0 {
		f, rest, ok, err := split.Next(p)
		if p = rest; err == nil && ok {
			err = l.frameLocked(f, token)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loner) frameLocked(f wire.Frame, token string) error {
	switch f.Type {
	case wire.TypeWelcome:
		w, err := wire.ParseWelcome(f.Body)
		if err != nil {
			return err
		}
		l.session, l.token, l.window = w.Session, w.Token, w.Window
		l.limit = time.Duration(w.Heartbeat+w.Timeout) * time.Millisecond
		l.ackedLocked(w.Ack())
	case wire.TypeAck:
		a, err := wire.ParseAck(f.Body)
		l.ackedLocked(a)
		return err
	case wire.TypeData:
		return l.dataLocked(f.Body)
	case wire.TypeClose:
		c, err := wire.ParseClose(f.Body)
		if err == nil {
			_, err = l.in.Close(c.Number)
		}
		if err == nil {
			l.endLocked(&resumable.CloseError{Code: c.Code, Reason: c.Reason})
		}
		return err
	case wire.TypeRefused:
		l.endLocked(errors.New("refused: " + string(f.Body)))
	case wire.TypeGone:
		g, err := wire.ParseGone(f.Body)
		if err == nil && g.Reason == "unknown" && token != l.token {
			return errors.New("an older token is void")
		}
		if err == nil {
			l.endLocked(&resumable.Gone{Reason: g.Reason})
		}
		return err
	}
	return nil
}

// ackedLocked heeds the server's word on what it has; an older one may come late.
func (l *loner) ackedLocked(a wire.Ack) {
	if a.Next() > l.at.Next() || a.Next() == l.at.Next() && a.Partial > l.at.Partial {
		l.at = wire.Ack{Received: l.at.Received, Ahead: a.Next() - 1 - l.at.Received, Partial: a.Partial}
	}
	for ; l.gone < a.Received && len(l.out) > 0; l.gone++ {
		l.size -= weight(l.out[0].data)
		l.out = l.out[1:]
	}
}

func (l *loner) dataLocked(body []byte) error {
	d, err := wire.ParseData(body)
	if err != nil {
		return err
	}
	m, whole, err := l.in.Add(d)
	if whole {
		kind := resumable.Text
		if d.Binary {
			kind = resumable.Binary
		}
		l.came = append(l.came, letter{kind, bytes.Clone(m)})
	}
	return err
}
