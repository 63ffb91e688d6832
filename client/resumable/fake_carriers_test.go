package resumable

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/protocol/resume/wire"
)

func (f *fake) webSocket(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}, CheckOrigin: func(*http.Request) bool { return true }}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	_, p, err := c.ReadMessage()
	if err != nil {
		return
	}
	hello, rest, err := wire.Split(p)
	if err != nil || hello.Type != wire.TypeHello {
		f.t.Errorf("first frame on a WebSocket: %v, %v", hello.Type, err)
		return
	}
	s, gen, answer := f.attach(hello.Body)
	if c.WriteMessage(websocket.BinaryMessage, answer) != nil || s == nil {
		return
	}
	up2 := &upstream{s: s, done: make(chan struct{})}
	up2.frames(f.t, rest, true)
	go up2.read(f.t, c)
	told := false
	for {
		s.mu.Lock()
		change := s.change
		b := append(up2.answers(), s.down(gen, &told, 30<<10)...)
		over := s.gone != ""
		s.mu.Unlock()
		if len(b) > 0 {
			if c.WriteMessage(websocket.BinaryMessage, b) != nil || over {
				break
			}
			continue
		}
		select {
		case <-change:
			continue
		case <-up2.done:
		}
		break
	}
	c.Close()
	<-up2.done
}

// An upstream is what comes up by a WebSocket.
type upstream struct {
	s     *talk
	pongs []byte // guarded by the talk
	done  chan struct{}
}

func (u *upstream) answers() []byte {
	b := u.pongs
	u.pongs = nil
	return b
}

func (u *upstream) read(t *testing.T, c *websocket.Conn) {
	defer close(u.done)
	for {
		k, p, err := c.ReadMessage()
		if err != nil {
			return
		}
		if k != websocket.BinaryMessage {
			t.Error("a text message came")
		}
		if !u.frames(t, p, false) {
			return
		}
	}
}

func (u *upstream) frames(t *testing.T, p []byte, first bool) (ok bool) {
	ok = true
	u.s.do(func() {
		for len(p) > 0 && ok {
			f, rest, err := wire.Split(p)
			if err == nil {
				p = rest
				var pong []byte
				pong, err = u.s.take(f)
				u.pongs = append(u.pongs, pong...)
			}
			if err != nil {
				t.Errorf("frame on a WebSocket: %v: %v", f.Type, err)
				ok = false
			}
		}
	})
	return ok
}

func (f *fake) request(kind wire.Kind, w http.ResponseWriter, r *http.Request, body []byte) {
	first, rest, err := wire.Split(body)
	if err != nil {
		f.t.Error(err)
		return
	}
	if kind == wire.Stream {
		w.Write(wire.AppendPad(nil, 2048))
		w.(http.Flusher).Flush()
	}
	if first.Type == wire.TypeHello {
		s, gen, answer := f.attach(first.Body)
		w.Write(answer)
		if s == nil {
			return
		}
		s.body(rest)
		if kind == wire.Stream {
			s.stream(w, r, gen)
		}
		return
	}
	c, err := wire.ParseContinue(first.Body)
	if err != nil {
		f.t.Error(err)
		return
	}
	s := f.find(c)
	if s == nil {
		w.Write(goneFrame("unknown"))
		return
	}
	pong, data := s.body(rest)
	if kind == wire.Send {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Write(append(s.tell(c.Generation).Append(nil), pong...))
		return
	}
	s.poll(w, r, c.Generation, pong, data)
}

func (f *fake) find(c wire.Continue) *talk {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.talks {
		s.mu.Lock()
		ok := c.Session == f.rename || s.id == c.Session && s.tokens.Use(c.Token)
		s.mu.Unlock()
		if ok {
			return s
		}
	}
	return nil
}

// body takes a request's frames: a gap is no fault.
func (s *talk) body(p []byte) (pongs []byte, data bool) {
	s.do(func() {
		for len(p) > 0 {
			f, rest, err := wire.Split(p)
			if err != nil {
				s.f.t.Error(err)
				return
			}
			p = rest
			pong, err := s.take(f)
			pongs = append(pongs, pong...)
			data = data || f.Type == wire.TypeData
			if _, bad := err.(*fault); bad {
				s.f.t.Errorf("frame of a request: %v: %v", f.Type, err)
			}
		}
	})
	return pongs, data
}

func (f *fake) heartbeat() time.Duration {
	if f.welcome.Heartbeat == 0 { // for ever
		return time.Hour
	}
	return time.Duration(f.welcome.Heartbeat) * time.Millisecond
}

func (s *talk) stream(w http.ResponseWriter, r *http.Request, gen uint64) {
	w.(http.Flusher).Flush()
	rotate := time.NewTimer(time.Duration(s.f.welcome.Rotate) * time.Millisecond)
	defer rotate.Stop()
	beat := time.NewTicker(s.f.heartbeat())
	defer beat.Stop()
	told := false
	for {
		s.mu.Lock()
		change, b, over := s.change, s.down(gen, &told, 60<<10), s.gone != ""
		s.mu.Unlock()
		if len(b) > 0 {
			if _, err := w.Write(b); err != nil || over {
				return
			}
			w.(http.Flusher).Flush()
			continue
		}
		select {
		case <-change:
		case <-beat.C:
			w.Write(wire.AppendPing(nil, nil))
			w.(http.Flusher).Flush()
		case <-rotate.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *talk) poll(w http.ResponseWriter, r *http.Request, gen uint64, pong []byte, data bool) {
	hold := s.f.heartbeat()
	if data {
		hold = time.Second
	}
	t := time.NewTimer(hold)
	defer t.Stop()
	told := true
	var mine int
	s.do(func() { // what this body does not acknowledge was lost, and the poll before is over (§3.4)
		s.polls++
		mine = s.polls
		if s.used == gen {
			s.at = s.out.taken
		}
	})
	for over := len(pong) > 0; ; {
		s.mu.Lock()
		if s.polls != mine {
			w.Write(s.in.ack().Append(nil))
			s.mu.Unlock()
			return
		}
		told = s.goaway == 0 || s.used != gen || s.warned
		s.warned = s.warned || !told
		change, down := s.change, s.down(gen, &told, 100<<10)
		ack := s.tell(gen).Append(nil)
		gone := s.gone
		over = over || s.used != gen
		s.mu.Unlock()
		if gone != "" {
			w.Write(goneFrame(gone))
			return
		}
		if len(down) > 0 || over {
			b := append(append(ack, pong...), down...)
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b)
			return
		}
		select {
		case <-change:
		case <-t.C:
			over = true
		case <-r.Context().Done():
			return
		}
	}
}
