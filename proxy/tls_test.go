package proxy

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/heartbeat"
)

// secureWays runs a test with TLS towards the client on loops and on goroutines.
func secureWays(t *testing.T, run func(t *testing.T)) {
	overTLS = true
	defer func() { overTLS, loops = false, nil }()
	t.Run("goroutines", run)
	t.Run("loops", func(t *testing.T) {
		loops = startGroup(t)
		run(t)
	})
}

// connectRecords connects a client whose records are in the test's hands.
func connectRecords(t *testing.T, s setup) (*wire, *records) {
	s.records = true
	w := connect(t, s)
	return w, w.client.conn.tls.(*records)
}

// Each KeyUpdate is answered by one where the client asks for it, and both sides
// go on with the new keys (RFC 8446 §4.6.3).
func TestKeyUpdates(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		w, r := connectRecords(t, setup{})
		const updates = 200
		for i := range updates {
			ping := w.client.frame(0x81, strings.Repeat("p", i*50))
			r.send(append(append(r.seal(recordData, ping[:2]), r.sealUpdate()...), r.seal(recordData, ping[2:])...))
			w.backend.wantBytes(ping)
			pong := w.backend.frame(0x82, strings.Repeat("q", i*100))
			w.backend.send(pong)
			w.client.wantBytes(pong)
		}
		if r.updates != updates {
			t.Errorf("%d KeyUpdates were answered; want %d", r.updates, updates)
		}
	})
}

// A backend's KeyUpdate is answered too, however long after the handshake: no
// deadline of that must be left.
func TestKeyUpdateOfABackend(t *testing.T) {
	overWSS = true
	defer func() { overWSS = false }()
	secureWays(t, func(t *testing.T) {
		w, _ := connectRecords(t, setup{limits: Limits{WriteTimeout: time.Second, DialTimeout: 2 * time.Second}})
		r := w.backend.conn.tls.(*records)
		<-time.After(2 * time.Second) // both have passed
		r.send(r.sealUpdate())
		w.backend.send(w.backend.frame(0x81, "down"))
		w.client.want(0x81, "down")
		w.client.send(w.client.frame(0x81, "up"))
		w.backend.want(0x81, "up")
		if r.updates != 1 {
			t.Errorf("%d KeyUpdates were answered; want 1", r.updates)
		}
	})
}

// So is a client's: no deadline of the greeting must be left.
func TestKeyUpdateOfAnIdleClient(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		w, r := connectRecords(t, setup{limits: Limits{WriteTimeout: time.Second}})
		<-time.After(2 * time.Second) // it has passed
		r.send(r.sealUpdate())
		w.client.send(w.client.frame(0x81, "up"))
		w.backend.want(0x81, "up")
		w.backend.send(w.backend.frame(0x81, "down"))
		w.client.want(0x81, "down")
		if r.updates != 1 {
			t.Errorf("%d KeyUpdates were answered; want 1", r.updates)
		}
	})
}

// A client that asks for KeyUpdates and takes none of the answers would have them
// kept for ever. It sends data too, for crypto/tls itself ends a run of updates.
func TestKeyUpdateFloodIsBounded(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		beat := heartbeat.Policy{Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond}
		w, r := connectRecords(t, setup{beat: beat, limits: Limits{WriteTimeout: 500 * time.Millisecond}})
		go io.Copy(io.Discard, w.backend.r)
		r.send(r.seal(recordData, rawFrame(0x02, "", true))) // a message without an end
		const most = 1 << 20
		sent := 0
		for err := error(nil); err == nil; sent++ {
			if sent == most {
				t.Fatalf("%d KeyUpdates were taken of a client that reads nothing", sent)
			}
			_, err = r.conn.Write(append(r.sealUpdate(), r.seal(recordData, rawFrame(0x00, "x", true))...))
		}
		t.Logf("ended after %d KeyUpdates", sent)
	})
}

// Where a client takes nothing more, TLS's last word is not waited for: a stop that
// cuts has no time for that.
func TestCutOfAFullClient(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		w := connect(t, setup{})
		w.client.conn.SetReadBuffer(4 << 10)
		message := w.backend.frame(0x82, strings.Repeat("m", 60_000))
		for err := error(nil); err == nil; {
			w.backend.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			_, err = w.backend.conn.Write(message)
		}
		begun := time.Now()
		for _, r := range w.live.list() {
			r.cut()
		}
		w.ended(t)
		if d := time.Since(begun); d > 4*time.Second {
			t.Errorf("the cut took %v", d)
		}
	})
}

// A close alert without the socket's end is the end of what a client sends: the
// backend is told, and the client's own direction is closed in TLS's way too.
func TestCloseAlert(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		w, r := connectRecords(t, setup{})
		start := time.Now()
		r.CloseWrite()
		w.backend.wantClose(codeGoingAway)
		r.wantAlert(0)
		if d := time.Since(start); d > closeGrace/2 {
			t.Errorf("the close took %v", d)
		}
	})
}

// The end of a socket without an alert may be an attacker's doing, and is an end all
// the same: between records and within one.
func TestSocketEndsWithoutAlert(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		for _, whole := range []bool{true, false} {
			w, r := connectRecords(t, setup{})
			b := r.seal(recordData, w.client.frame(0x81, "last words"))
			if !whole {
				b = append(b, r.seal(recordData, w.client.frame(0x81, "never whole"))[:20]...)
			}
			r.send(b)
			w.client.conn.TCPConn.CloseWrite()
			w.backend.want(0x81, "last words")
			w.backend.wantClose(codeGoingAway)
		}
	})
}

// What crypto/tls refuses it says by an alert, and the backend hears of a client
// that is gone.
func TestFaultyRecords(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		for _, c := range []struct {
			name  string
			bytes func(r *records) []byte
			alert byte
		}{
			{"changed on the way", func(r *records) []byte {
				b := r.seal(recordData, []byte("\x81\x80abcd"))
				b[len(b)-1] ^= 1
				return b
			}, 20},
			{"plaintext too long", func(r *records) []byte { return r.seal(recordData, make([]byte, 16<<10+1)) }, 22},
			{"ciphertext too long", func(r *records) []byte { return []byte{recordData, 3, 3, 0x41, 0x01} }, 22},
			{"not TLS 1.3", func(r *records) []byte { return []byte("GET / HTTP/1.1\r\n") }, 70},
			{"a broken ClientHello again", func(r *records) []byte { return r.seal(recordHandshake, []byte{1, 0, 0, 0}) }, 50},
			{"unknown type", func(r *records) []byte { return r.seal(99, []byte("?")) }, 10},
			{"replayed", func(r *records) []byte {
				b := r.seal(recordData, rawFrame(0x81, "once", true))
				return append(b, b...)
			}, 20},
		} {
			t.Run(c.name, func(t *testing.T) {
				w, r := connectRecords(t, setup{})
				r.send(c.bytes(r))
				r.wantAlert(c.alert)
				w.backend.wantClose(codeGoingAway)
			})
		}
	})
}

// Records of every size, torn at every place, with many frames in one and one frame
// in many.
func TestRecordsTornAnywhere(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		w, r := connectRecords(t, setup{})
		frames := func() (b []byte) {
			for _, n := range []int{0, 1, 125, 126, 1000} {
				b = append(b, w.client.frame(0x82, strings.Repeat("f", n))...)
			}
			return b
		}
		var sealed, plain []byte
		for size := 1; size < 2000; size = size*3/2 + 1 {
			for part := range slices.Chunk(frames(), size) {
				plain = append(plain, part...)
				sealed = append(sealed, r.seal(recordData, part)...)
				sealed = append(sealed, r.seal(recordData, nil)...) // empty ones are allowed, a few in a row
			}
		}
		go func() {
			for part := range slices.Chunk(sealed, 7) {
				r.send(part)
			}
		}()
		w.backend.wantBytes(plain)
	})
}

// Bytes keep their order while both ends are slow to read and keys change.
func TestOrderUnderBackPressure(t *testing.T) {
	secureWays(t, func(t *testing.T) {
		w, r := connectRecords(t, setup{})
		w.client.conn.SetReadBuffer(64 << 10)
		w.backend.conn.SetReadBuffer(64 << 10)
		data := make([]byte, 4<<20)
		rand.Read(data)
		up, down := w.client.frame(0x82, string(data)), w.backend.frame(0x82, string(data))
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for part := range slices.Chunk(up, 100_000) {
				r.send(r.sealUpdate())
				r.Write(part)
			}
		}()
		go w.backend.send(down)
		read := make(chan struct{})
		go func() {
			defer close(read)
			w.backend.wantBytes(up)
		}()
		w.client.wantBytes(down)
		<-read
		<-sent
	})
}

// crypto/tls on a loop stands on what is not documented: after an error in reading
// that is a net.Error and Temporary it goes on where it was, within a record too.
func TestTLSGoesOnAfterATemporaryError(t *testing.T) {
	near, far := net.Pipe()
	slow := &hesitant{Conn: near}
	secure := tls.Server(slow, &tls.Config{Certificates: []tls.Certificate{testCertificate()}})
	client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
	message := bytes.Repeat([]byte("message "), 10_000)
	go func() {
		client.Write(message)
		client.Close()
	}()
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	slow.hesitates = true
	var got []byte
	b := make([]byte, 1000)
	errs := 0
	for {
		n, err := secure.Read(b)
		got = append(got, b[:n]...)
		if err == error(errAgain) {
			errs++
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("after %d bytes: %v", len(got), err)
			}
			break
		}
	}
	if !bytes.Equal(got, message) || errs < len(message) {
		t.Errorf("%d bytes with %d errors between; want %d, and an error before each", len(got), errs, len(message))
	}
}

// A handshake message that does not end is not waited for, although the connection
// is alive by all other signs.
func TestEndlessTLSMessage(t *testing.T) {
	overTLS, loops = true, startGroup(t)
	defer func() { overTLS, loops = false, nil }()
	w, r := connectRecords(t, setup{})
	const certificate = 11
	r.send(r.seal(recordHandshake, append([]byte{certificate, 3, 0, 0}, make([]byte, 12<<10)...)))
	r.send(r.seal(recordHandshake, make([]byte, 12<<10)))
	w.backend.wantClose(codeGoingAway)
}

// What crypto/tls keeps of a large record goes at the next heartbeat, and the
// connection goes on.
func TestTLSLetsItsBuffersGo(t *testing.T) {
	if !tlsBuffers.known {
		t.Fatal("crypto/tls no longer has the buffers that tlsBuffers looks for")
	}
	overTLS, loops = true, startGroup(t)
	defer func() { overTLS, loops = false, nil }()
	w := connect(t, setup{beat: heartbeat.Policy{Interval: 50 * time.Millisecond, Timeout: 10 * time.Second}})
	r := w.live.list()[0].(*looped)
	kept := func() (n int) {
		r.loop.Do(func() {
			rawInput, hand, _ := tlsBuffers.in(r.lanes[client].tls)
			n = rawInput.Cap() + hand.Cap()
		})
		return n
	}
	for range 3 {
		f := w.client.frame(0x82, strings.Repeat("x", 16<<10))
		w.client.send(f)
		for g := (got{}); g.first != 0x82; {
			var err error
			if g, err = w.backend.next(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "buffers let go", func() bool { return kept() == 0 })
	}
}

// Half a record is nobody's to let go.
func TestTLSKeepsWhatIsNotRead(t *testing.T) {
	overTLS, loops = true, startGroup(t)
	defer func() { overTLS, loops = false, nil }()
	w, r := connectRecords(t, setup{beat: heartbeat.Policy{Interval: 50 * time.Millisecond}})
	f := w.client.frame(0x82, strings.Repeat("x", 1000))
	b := r.seal(recordData, f)
	for ; len(b) > 300; b = b[300:] {
		r.send(b[:300])
		if g, err := w.backend.next(); err != nil || g.first != 0x80|opPing { // a heartbeat has passed
			t.Fatalf("frame %#x, %v; want a ping", g.first, err)
		}
	}
	r.send(b)
	for {
		g, err := w.backend.next()
		if err != nil {
			t.Fatal(err)
		}
		if g.first != 0x80|opPing {
			if !bytes.Equal(g.raw, f) {
				t.Errorf("frame of %d bytes arrived changed", len(g.raw))
			}
			return
		}
	}
}

// hesitant reads one byte at a time, and fails before each.
type hesitant struct {
	net.Conn
	hesitates, failed bool
}

func (h *hesitant) Read(b []byte) (int, error) {
	if !h.hesitates {
		return h.Conn.Read(b)
	}
	if h.failed = !h.failed; h.failed {
		return 0, errAgain
	}
	return h.Conn.Read(b[:1])
}
