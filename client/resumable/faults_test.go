package resumable

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"sidecar/protocol/resume/wire"
)

// What a server does against the protocol ends the carrier, or the session with a CLOSE
// that says so (§12).
func TestFaultsOfAServer(t *testing.T) {
	data := func(number, offset uint64, more bool, p string) []byte {
		return wire.Data{Number: number, Offset: offset, More: more, Payload: []byte(p)}.Append(nil)
	}
	long := string(bytes.Repeat([]byte("x"), wire.MinFragment))
	for name, test := range map[string]struct {
		frames []byte
		code   int // 0: only the carrier ends
	}{
		"unknown type":            {[]byte{99, 0}, 0},
		"too long":                {[]byte{byte(wire.TypeAck), 100}, 0},
		"bad varint":              {[]byte{byte(wire.TypeAck), 0x83, 0}, 0},
		"bad body":                {[]byte{byte(wire.TypeAck), 1, 0}, 0},
		"a client's frame":        {wire.Use{Turn: 9, Generation: 9}.Append(nil), 0},
		"a gap":                   {data(9, 0, false, "x"), 0},
		"a close beyond":          {wire.Close{Number: 9, Code: 1000}.Append(nil), 0},
		"contrary":                {append(data(2, 0, true, long), wire.Close{Number: 2, Code: 1000}.Append(nil)...), 1002},
		"text and binary":         {append(data(2, 0, true, long), wire.Data{Binary: true, Number: 2, Offset: 1024, Payload: []byte("x")}.Append(nil)...), 1002},
		"ack beyond what went":    {wire.Ack{Received: 7}.Append(nil), 1002},
		"ack within what is past": {wire.Ack{Received: 1, Partial: 1}.Append(nil), 1002},
		"no UTF-8":                {data(2, 0, false, "\xff"), 1007},
		"too large":               {append(data(2, 0, true, long+long), data(2, 2048, true, long+long+long)...), 1009},
		"beyond a full window":    {nil, 1002},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, func(t *testing.T, r *rig, kind Transport) {
				o := r.options(kind)
				o.MaxMessage, o.Window = 4096, 4096
				c := r.open(o)
				r.echo(c, "hello")
				synctest.Wait()
				s := r.f.only()
				s.do(func() {
					s.lax = true
					if s.inject = test.frames; s.inject == nil {
						s.overfill()
					}
				})
				synctest.Wait()
				if test.code == 0 {
					r.echo(c, "it goes on")
					return
				}
				ctx := context.Background()
				var err error
				for err == nil {
					_, _, err = c.Read(ctx)
				}
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.in.closed == nil || s.in.closed.Code != test.code {
					t.Errorf("the server was told %+v; want %d", s.in.closed, test.code)
				}
			})
		})
	}
}

// overfill sends more than the client's window of 4096 bytes takes.
func (s *talk) overfill() {
	s.out.window = 1 << 20
	for range 6 {
		s.out.add(true, make([]byte, 1000))
	}
}

// Messages that the server cannot send any more are lost, and the client says so.
func TestGapInAWelcome(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		s := r.f.only()
		s.do(func() { s.out.first, s.out.sent, s.out.taken = 9, position{9, 0}, position{9, 0} })
		r.cut()
		wantGone(t, c, "gap")
	})
}

func TestWelcomeToAnotherSession(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig, kind Transport) {
		if kind == Poll {
			return // a poll that was cut goes on without a HELLO
		}
		c := r.open(r.options(kind))
		r.echo(c, "hello")
		synctest.Wait()
		s := r.f.only()
		s.mu.Lock()
		id := s.id
		r.f.rename = "another"
		s.mu.Unlock()
		r.cut()
		synctest.Wait()
		s.mu.Lock()
		if s.in.closed == nil || s.in.closed.Number != 1 || s.in.closed.Code != 1001 {
			if s.stray == nil || s.stray.Number != 1 || s.stray.Code != 1001 {
				t.Errorf("the other session was told %+v, %+v; want CLOSE 1 1001", s.in.closed, s.stray)
			}
		}
		r.f.rename = ""
		s.id = id
		s.mu.Unlock()
		r.echo(c, "ours goes on")
	})
}
