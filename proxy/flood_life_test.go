package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// A harm is what happens to a connection before its scripts are through.
type harm int

const (
	unharmed  harm = iota
	resets         // an end goes by a RST
	finishes       // an end says that it sends no more, anywhere
	halfFrame      // an end sends half a frame, then nothing
	halfEnd        // an end sends half a frame, then says that it sends no more
	harms
)

func (h harm) String() string {
	return [...]string{"unharmed", "resets", "finishes", "half frames", "half frames with an end"}[h]
}

// A life is one relayed connection of a torrent, from its plan to its end.
type life struct {
	number  uint64
	torrent *torrent
	harm    harm
	by      side // who does it
	ends    [2]*torrentEnd
}

// A torrentEnd is one end of a life.
type torrentEnd struct {
	life   *life
	side   side
	conn   net.Conn
	early  []byte        // what came with the handshake
	rng    [2]*rand.Rand // of sending, and of receiving
	script *script       // what it sends
	count  int           // so many frames
	cut    int64         // harm is done after so many bytes; negative: after all frames
	check  checker       // of what it receives
	tiny   bool          // it reads little at a time
	stalls int           // how often it stops reading for a while
	full   chan struct{} // closed once it has all, or will have no more
	filled bool          // full is closed
	sent   chan struct{} // closed once it will send no more, but a close frame
	err    error         // what was wrong with what came; nil: nothing
}

// plan makes life number n of the torrent: all chance is drawn from its seed.
func (f *torrent) plan(n uint64) *life {
	rng := rand.New(rand.NewPCG(f.seed, n))
	l := &life{number: n, torrent: f, harm: harm(n % uint64(harms+3)), by: side(rng.IntN(2))}
	if l.harm >= harms {
		l.harm = unharmed // half of them
	}
	var counts [2]int
	var mixes [2]mix
	for s := range l.ends {
		mixes[s] = []mix{small, small, small, small, medium, large}[rng.IntN(6)]
		if side(s) == l.by && l.harm == halfFrame {
			mixes[s] = small // how long half a frame may last depends on its size
		}
		counts[s] = 1 + rng.IntN([]int{f.frames, f.frames / 64, f.frames / 1024}[mixes[s]]+1)
	}
	for s := range l.ends {
		e := &torrentEnd{life: l, side: side(s), count: counts[s], cut: -1}
		stream := func(s side) *script { return newScript(f.seed+n, uint64(s), mixes[s], s == client) }
		e.script, e.check.script = stream(e.side), stream(e.side.other())
		e.tiny, e.stalls = rng.IntN(12) == 0, max(0, rng.IntN(6)-3)
		for i := range e.rng {
			e.rng[i] = rand.New(rand.NewPCG(f.seed^n, uint64(2*s+i)))
		}
		e.full, e.sent = make(chan struct{}), make(chan struct{})
		if l.by == e.side && rng.IntN(4) > 0 {
			e.cut = rng.Int64N(int64(20*counts[s]) + 1)
		}
		l.ends[s] = e
	}
	return l
}

// endless makes a life that only a drain ends. Its readers take much at once: tiny
// reads never wait, and while the last lives before it end they would keep others
// from the processors for longer than a frame may take.
func (l *life) endless() *life {
	l.harm = unharmed
	for _, e := range l.ends {
		e.count, e.tiny = math.MaxInt, false
	}
	return l
}

// live opens the connection and lives it.
func (l *life) live() error {
	if err := l.torrent.open(l); err != nil {
		return fmt.Errorf("life %d: opening: %w", l.number, err)
	}
	var wg sync.WaitGroup
	for _, e := range l.ends {
		e.conn.SetDeadline(time.Now().Add(l.torrent.patience)) // who waits longer has failed
		if e.rng[0].IntN(4) == 0 {
			squeeze(e.conn)
		}
		wg.Go(e.send)
		wg.Go(e.receive)
	}
	wg.Go(l.leave)
	wg.Wait()
	return l.judge()
}

// squeeze makes a socket's buffers small, but not below a segment, which on loopback is
// up to 64 KiB. Where a window can never hold the segment that is next, Linux sends a part
// of it only when its timer for probes is up (216 ms), and starts that anew with all that
// comes from the other end: in a torrent that is for ever, and what we write is stalled.
func squeeze(c net.Conn) {
	type sized interface {
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
	}
	if s, ok := c.(sized); ok {
		s.SetReadBuffer(64 << 10)
		s.SetWriteBuffer(64 << 10)
	}
}

// leave is the client's close, once both have all.
func (l *life) leave() {
	for _, e := range l.ends {
		<-e.full
		<-e.sent
	}
	if l.harm == unharmed {
		l.ends[client].conn.Write(rawFrame(0x88, "\x03\xe8", true))
	}
}

// send sends the script, cut at odd places, and does the harm.
func (e *torrentEnd) send() {
	defer close(e.sent)
	var out []byte
	harmful := e.life.harm != unharmed && e.life.by == e.side
	for n, sent := 0, int64(0); n < e.count || len(out) > 0; {
		for n < e.count && len(out) < 64<<10 {
			head, body := e.script.next()
			out = append(append(out, head...), body...)
			n++
		}
		k := min(len(out), 1+e.rng[0].IntN(1<<e.rng[0].IntN(18)))
		last := harmful && e.cut >= 0 && sent+int64(k) >= e.cut && e.life.harm != halfFrame
		if last {
			k = int(e.cut - sent)
		}
		if _, err := e.conn.Write(out[:k]); err != nil {
			return
		}
		if sent += int64(k); last {
			break
		}
		out = append(out[:0], out[k:]...)
	}
	if harmful {
		e.harm()
	}
}

func (e *torrentEnd) harm() {
	if e.life.harm == halfFrame || e.life.harm == halfEnd && e.cut < 0 {
		head, body := e.script.next()
		frame := append(append([]byte{}, head...), body...)
		e.conn.Write(frame[:1+e.rng[0].IntN(len(frame)-1)])
	}
	switch e.life.harm {
	case resets:
		e.life.torrent.reset(e.conn)
	case finishes, halfEnd:
		e.conn.(interface{ CloseWrite() error }).CloseWrite()
	}
}

// receive checks what comes, until the end.
func (e *torrentEnd) receive() {
	defer e.fill()
	defer e.conn.Close()
	e.err = e.take(e.early)
	b := make([]byte, 64<<10)
	for answered := false; e.err == nil; {
		n, err := e.conn.Read(b[:e.appetite(len(b))])
		if e.err = e.take(b[:n]); err != nil {
			return
		}
		if e.check.code() == 0 || answered {
			continue
		}
		if answered = true; !e.complete() {
			return // a close would be taken for a frame's payload
		}
		e.conn.Write(rawFrame(0x88, "\x03\xe8", e.side == client))
	}
}

// complete reports whether all it sent ends with a frame, and it sends no more.
func (e *torrentEnd) complete() bool {
	select {
	case <-e.sent:
		return e.life.harm == unharmed || e.life.by != e.side
	default:
		return false
	}
}

func (e *torrentEnd) fill() {
	if !e.filled {
		e.filled = true
		close(e.full)
	}
}

func (e *torrentEnd) goal() int { return e.life.ends[e.side.other()].count }

func (e *torrentEnd) take(b []byte) error {
	before := e.check.frames
	err := e.check.feed(b)
	e.life.torrent.count(e.check.frames-before, len(b))
	if e.check.frames >= e.goal() {
		e.fill()
	}
	return err
}

// appetite is how much is read next, perhaps after a rest.
func (e *torrentEnd) appetite(n int) int {
	if e.stalls > 0 && e.rng[1].IntN(8) == 0 {
		e.stalls--
		e.life.torrent.stalled.Add(1)
		<-time.After(time.Duration(1+e.rng[1].IntN(100)) * time.Millisecond) // the harm itself
	}
	if e.tiny {
		return 1 + e.rng[1].IntN(48)
	}
	return n
}

// judge says what was wrong with a life. One that suffered harm may lose its
// tail; what came must have been right all the same.
func (l *life) judge() error {
	var errs []error
	for _, e := range l.ends {
		c, code := &e.check, e.check.code()
		switch {
		case e.err != nil:
			errs = append(errs, fmt.Errorf("%v: %w", e.side, e.err))
		case code < 0:
			errs = append(errs, fmt.Errorf("%v got a bad close frame %x", e.side, c.close))
		case code == codeGoingAway && e.count == math.MaxInt:
			l.torrent.told.Add(1)
		case e.count == math.MaxInt && code != 0:
			errs = append(errs, fmt.Errorf("%v heard of close code %d %q, but only the drain may end this one", e.side, code, reasonOf(c.close)))
		case l.harm == unharmed && e.count < math.MaxInt && (c.frames != e.goal() || c.within || code != 1000):
			errs = append(errs, fmt.Errorf("%v got %d of %d frames and close code %d", e.side, c.frames, e.goal(), code))
		}
	}
	if errs == nil {
		return nil
	}
	return fmt.Errorf("life %d (%v by %v): %w", l.number, l.harm, l.by, errors.Join(errs...))
}

// headAndRest reads up to the empty line, and what came with that.
func headAndRest(c net.Conn) (head string, rest []byte, err error) {
	r := bufio.NewReader(c)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			return head, nil, err
		}
		head += line
	}
	rest = make([]byte, r.Buffered())
	_, err = io.ReadFull(r, rest)
	return head, rest, err
}
