package proxy

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"sidecar/access"
	"sidecar/heartbeat"
	"sidecar/loop"
)

// maxAnswerHead and maxRefusal bound the head of a backend's answer, and the
// body of one that is not 101. What is longer is a broken answer, or is cut.
const (
	maxAnswerHead = 64 << 10
	maxRefusal    = 1 << 20
)

// A Raw serves the WebSocket handshakes of one route: it passes each on to the
// backend and, when both agree, relays frames until either ends.
type Raw struct {
	Route     string // the operator's name for the route, in logs
	Backend   *Backend
	Guard     *access.Guard
	Heartbeat heartbeat.Policy // zero: none
	Limits    Limits           // zero fields mean the defaults
	Live      *Live
	// Loops relay, where there are any. Nil: two goroutines relay each connection.
	Loops *loop.Group
	// PlainTLS has goroutines relay connections with TLS on either hop: that takes
	// more memory, and leans on nothing that crypto/tls does not document.
	PlainTLS bool
	Observer Observer     // nil: nobody
	Log      *slog.Logger // nil: slog.Default()
}

// ServeHTTP serves one handshake. It returns once the relay has begun, which
// then belongs to Live.
func (h *Raw) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if bad := checkUpgrade(r); bad != nil {
		h.observer().Refused("handshake")
		w.Header().Set("Connection", "close") // nothing behind it is to be read as a request
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, bad.text, bad.status)
		return
	}
	c, err := h.Guard.Check(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	release, err := h.Guard.Admit(c)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	relaying := false
	defer func() { // also when decline aborts the answer
		if !relaying {
			release()
		}
	}()
	relaying = h.open(w, r, c, release)
}

// refuse answers with what access decided.
func (h *Raw) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var why *access.Refusal
	if !errors.As(err, &why) {
		why = &access.Refusal{Status: http.StatusForbidden, Reason: "other", Text: "not allowed"}
	}
	h.observer().Refused(why.Reason)
	h.log().Debug("handshake refused", "route", h.Route, "reason", why.Reason)
	why.ServeHTTP(w, r)
}

// open asks the backend and begins to relay. It reports whether it did; if not,
// the client was answered, or has gone.
func (h *Raw) open(w http.ResponseWriter, r *http.Request, c access.Client, release func()) bool {
	id := newPublicID()
	start := time.Now()
	protocols := offeredProtocols(r.Header)
	a, err := h.ask(r, protocols, c, id.String(), start.Add(h.limits().DialTimeout))
	took := time.Since(start)
	if err != nil {
		h.fail(w, r, err, took)
		return false
	}
	defer a.done()
	if a.StatusCode != http.StatusSwitchingProtocols {
		h.observer().Dialed("refused", took)
		h.decline(w, a)
		return false
	}
	ext, err := checkSwitch(r, protocols, a.Header)
	if err != nil {
		h.observer().Dialed("invalid", took)
		h.warn("backend's handshake is invalid", err)
		http.Error(w, "the backend's answer to the handshake is invalid", http.StatusBadGateway)
		return false
	}
	h.observer().Dialed("ok", took)
	front, err := hijack(w)
	if err != nil {
		h.log().Debug("client broke the handshake", "route", h.Route, "session", id.String(), "err", err)
		return false
	}
	h.relay(front, a, ext, id, release)
	return true
}

// fail answers a client whose backend could not be reached.
func (h *Raw) fail(w http.ResponseWriter, r *http.Request, err error, took time.Duration) {
	if r.Context().Err() != nil {
		h.observer().Dialed("canceled", took)
		panic(http.ErrAbortHandler) // nobody is left to tell; returning would say 200
	}
	name, status := outcome(err)
	h.observer().Dialed(name, took)
	h.warn("backend cannot be reached", err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, "the backend cannot be reached", status)
}

// decline passes on a backend's refusal: status, headers and body.
func (h *Raw) decline(w http.ResponseWriter, a *answer) {
	strip(a.Header)
	for key, values := range a.Header {
		w.Header()[key] = values
	}
	leaveType(w.Header())
	a.head.N = maxRefusal
	a.conn.SetReadDeadline(time.Now().Add(h.limits().WriteTimeout))
	w.WriteHeader(a.StatusCode)
	n, err := io.Copy(w, io.LimitReader(a.Body, maxRefusal))
	if err != nil || n == maxRefusal {
		panic(http.ErrAbortHandler) // the only way to say that the body is not whole
	}
}

// leaveType keeps net/http from guessing a type where the backend named none: a
// guess overrides nosniff, and what was text is a page.
func leaveType(h http.Header) {
	if _, named := h["Content-Type"]; !named {
		h["Content-Type"] = nil
	}
}

// An answer is what a backend said to a handshake.
type answer struct {
	*http.Response
	conn net.Conn
	head io.LimitedReader // what may still be read of it
	buf  *bufio.Reader
	kept bool // the connection lives on in a relay
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

func newAnswer(conn net.Conn) *answer {
	a := &answer{conn: conn, head: io.LimitedReader{R: conn, N: maxAnswerHead}, buf: readers.Get().(*bufio.Reader)}
	a.buf.Reset(&a.head)
	return a
}

// done gives the buffer back, and ends a connection that became no relay.
func (a *answer) done() {
	if !a.kept {
		a.conn.Close()
	}
	a.buf.Reset(nil)
	readers.Put(a.buf)
}

// ask opens a connection to the backend, and sends the handshake over it. It gives
// up at the time by, and as soon as the client leaves. That deadline stays on the
// connection.
func (h *Raw) ask(r *http.Request, protocols []string, c access.Client, id string, by time.Time) (*answer, error) {
	ctx := r.Context()
	pulse := h.Heartbeat.Interval > 0 && h.Heartbeat.Timeout > 0
	conn, err := h.Backend.dialBy(ctx, by, pulse)
	if err != nil {
		return nil, fmt.Errorf("dialing backend: %w", err)
	}
	conn.SetDeadline(by)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	m := newHead()
	defer m.free()
	m.ask(r, h.Backend.target(r.URL), protocols, c, id)
	a := newAnswer(conn)
	err = a.exchange(m.b)
	// Whatever exchange made of it: net/http takes a line that breaks off for a
	// whole, malformed one.
	if !stop() {
		err = fmt.Errorf("waiting for backend's answer to handshake: %w", context.Cause(ctx))
	} else if err != nil && !time.Now().Before(by) {
		err = fmt.Errorf("waiting for backend's answer to handshake: %w", os.ErrDeadlineExceeded)
	}
	if err != nil {
		a.done()
		return nil, err
	}
	return a, nil
}

// asking is what answers are read for; net/http only looks at it.
var asking = http.Request{Method: http.MethodGet}

// exchange writes the request and reads the head of the answer, past at most a
// few interim ones (RFC 9110 §15.2).
func (a *answer) exchange(request []byte) error {
	if _, err := a.conn.Write(request); err != nil {
		return fmt.Errorf("sending handshake to backend: %w", err)
	}
	for range 8 {
		res, err := http.ReadResponse(a.buf, &asking)
		if err != nil {
			return fmt.Errorf("reading backend's answer to handshake: %w", err)
		}
		switch code := res.StatusCode; {
		case code < 100: // net/http reads 099
			return fmt.Errorf("reading backend's answer to handshake: status %q", res.Status)
		case code >= 200 || code == http.StatusSwitchingProtocols:
			a.Response = res
			return nil
		}
	}
	return errors.New("reading backend's answer to handshake: too many interim responses")
}

// hijack takes the client's connection over. Bytes that came before the answer
// end it: they may be a second request that only some parser sees (RFC 9931).
func hijack(w http.ResponseWriter) (net.Conn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	if n := rw.Reader.Buffered(); n > 0 {
		conn.Close()
		return nil, fmt.Errorf("client sent %d bytes before the answer to its handshake", n)
	}
	return conn, nil
}

// outOfDescriptors reports whether we, and not the backend, are at a limit.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func (h *Raw) warn(what string, err error) {
	h.Backend.complain(h.log(), what, h.Route, err)
}

func (h *Raw) log() *slog.Logger {
	if h.Log != nil {
		return h.Log
	}
	return slog.Default()
}

func (h *Raw) limits() Limits { return h.Limits.orDefault() }

func (h *Raw) observer() Observer {
	if h.Observer != nil {
		return h.Observer
	}
	return nobody{}
}

// relay says yes to the client and begins to relay.
func (h *Raw) relay(front net.Conn, a *answer, ext extensions, id publicID, release func()) {
	a.kept = true
	var early []byte
	if n := a.buf.Buffered(); n > 0 {
		early = make([]byte, n)
		io.ReadFull(a.buf, early) // cannot fail: they are in the buffer
	}
	var mark [8]byte
	rand.Read(mark[:]) // never fails (crypto/rand)
	start := time.Now()
	v := &ledger{raw: h, id: id, start: instantOf(start), release: release}
	p := newPair(start, h.Heartbeat, h.limits(), ext, mark)
	p.report = v
	r := h.mover(p, front, a.conn)
	v.raw.observer().Opened()
	front.SetWriteDeadline(start.Add(p.stall))
	// Before the client can know of it: a drain must not miss it.
	place, draining, code, reason := h.Live.add(r)
	v.place = place
	m := newHead()
	m.switched(a.Header)
	front.Write(m.b) // if it cannot be written the relay finds the same, and ends
	m.free()
	if draining {
		r.shutdown(code, reason)
	}
	r.start(early)
}

// mover is what moves the bytes of p.
func (h *Raw) mover(p *pair, front, back net.Conn) relayed {
	if h.Loops != nil && !(h.PlainTLS && (isTLS(front) || isTLS(back))) {
		if r := newLooped(h.Loops.Pick(), p, front, back); r != nil {
			return r
		}
	}
	// Those of the handshake. Sockets on a loop have left them behind.
	front.SetDeadline(time.Time{})
	back.SetDeadline(time.Time{})
	return newRelay(p, front, back)
}

// A ledger is one relayed connection as the world hears of it.
type ledger struct {
	raw     *Raw
	release func()
	start   instant
	id      publicID
	place   uint32 // in Live
}

// A publicID names a connection to whoever runs the program and the backend. It
// is no secret, and no other has it.
type publicID [16]byte

func newPublicID() (id publicID) {
	rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

var noPadding = base32.StdEncoding.WithPadding(base32.NoPadding)

func (id publicID) String() string { return noPadding.EncodeToString(id[:]) }

func (v *ledger) answered(s side, rtt time.Duration) { v.raw.observer().Answered(s.String(), rtt) }

func (v *ledger) relayed(s side, bytes, messages int) {
	v.raw.observer().Relayed(s == client, bytes, messages)
}

// ended is the last that is heard. The drain waits for the line in the log, but no
// relay does.
func (v *ledger) ended(p *pair) {
	age := v.start.since(time.Now())
	v.release()
	v.raw.observer().Closed(p.cause, age)
	if !v.raw.log().Enabled(context.Background(), slog.LevelInfo) {
		v.raw.Live.remove(v.place)
		return
	}
	v.raw.Live.ended(func() {
		v.raw.log().LogAttrs(context.Background(), slog.LevelInfo, "connection ended", p.summary(v.raw.Route, v.id.String(), age)...)
		v.raw.Live.remove(v.place)
	})
}

// summary is a connection's last line in the log.
func (p *pair) summary(route, id string, age time.Duration) []slog.Attr {
	c, b := &p.ends[client], &p.ends[backend]
	code, reason := p.word()
	return []slog.Attr{
		slog.String("session", id), slog.String("route", route),
		slog.String("cause", p.cause), slog.Int("code", code), slog.String("reason", reason),
		slog.Duration("duration", age.Round(time.Millisecond)), slog.Duration("rtt", p.rtt.Round(time.Microsecond)),
		slog.Int64("bytes_up", c.bytes), slog.Int64("bytes_down", b.bytes),
		slog.Int64("messages_up", c.walk.messages), slog.Int64("messages_down", b.walk.messages),
	}
}
