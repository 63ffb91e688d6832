package proxy

import "time"

// Rules are what the frames of one end must obey. They come with each question,
// for they are the same in thousands of walkers.
type rules struct {
	masked  bool  // clients mask, backends do not (RFC 6455 §5.1)
	deflate bool  // permessage-deflate is agreed: RSV1 may mark a message's first frame (RFC 7692 §6)
	lax     bool  // an extension we do not know is agreed: reserved bits and opcodes are its own affair
	limit   int64 // payload bytes of one message, over all its fragments
}

// A fault is a breach of the rules and the close code that it earns.
type fault struct {
	code int
	text string
}

func (f *fault) Error() string { return f.text }

var (
	errReservedBits   = &fault{codeProtocol, "reserved bits set without an extension"}
	errReservedOpcode = &fault{codeProtocol, "reserved opcode"}
	errUnmasked       = &fault{codeProtocol, "frame from client is not masked"}
	errMasked         = &fault{codeProtocol, "frame from backend is masked"}
	errLength         = &fault{codeProtocol, "length is not in its shortest form"}
	errHugeLength     = &fault{codeProtocol, "length beyond 63 bits"}
	errControlSize    = &fault{codeProtocol, "control frame longer than 125 bytes"}
	errControlSplit   = &fault{codeProtocol, "control frame is fragmented"}
	errContinuation   = &fault{codeProtocol, "continuation without a message"}
	errInterleaved    = &fault{codeProtocol, "new message inside a fragmented one"}
	errCloseCode      = &fault{codeProtocol, "invalid close payload"}
	errTooBig         = &fault{codeTooBig, "message too big"}
	errFragments      = &fault{codePolicy, "too many fragments in one message"}
	errFlood          = &fault{codePolicy, "too many control frames or empty fragments"}
)

// What a stranger may send of frames that carry nothing: so many a second in the
// long run and so many at once. Each costs its receiver as much as a message.
const (
	floodCost  = 10 * time.Millisecond // one hundred a second
	floodBurst = 200
)

// A message may have freeFragments, and one more for each fragmentSize bytes.
const (
	freeFragments = 4096
	fragmentSize  = 64
)

// A flood meters what may come in bursts but not for ever. It is the time at
// which its bucket is full again.
type flood struct{ full instant }

func (f *flood) spend(now time.Time) bool {
	f.full = max(f.full, instantOf(now)) + instant(floodCost)
	return -f.full.since(now) <= floodBurst*floodCost
}

// An event is why a walk paused.
type event uint8

const (
	walked    event = iota // so many bytes may be passed on as they are
	completed              // the header in held, begun in an earlier chunk, may be passed on
	control                // held or the bytes walked are one whole control frame
	waiting                // the bytes were set aside: too few to judge
	faulted
)

// A walker follows the frame headers of one end's bytes. It never looks at the
// payload of data frames, and passes a frame's first byte on only once the whole
// header has been judged: so a breach is always found between frames, where a
// close frame can still go out. Control frames, at most 139 bytes, are kept until
// they are whole, for they may have to be swallowed.
type walker struct {
	left      int64    // payload bytes of the current data frame still to come
	message   int64    // payload bytes of the unfinished message
	messages  int64    // data messages that ended
	held      *partial // the beginning of a frame, not passed on; nil: there is none
	flood     flood
	fragments int32
	begun     bool // a frame's header was judged, since whoever cares has cleared it
	final     bool // the current data frame ends its message
	open      bool // a fragmented message is unfinished
}

// A partial is the beginning of a frame: of a control frame at most all of it.
type partial struct {
	size uint8
	room [2 + 4 + maxControl]byte
}

func (h *partial) bytes() []byte { return h.room[:h.size:h.size] }

// boundary reports whether all that was passed on ends with a frame.
func (w *walker) boundary() bool { return w.left == 0 }

// idle reports whether the end has nothing unfinished.
func (w *walker) idle() bool { return w.left == 0 && w.held == nil }

// next walks b and reports how many of its bytes it dealt with, and how. With
// stop it pauses wherever a frame ends. frame is set with control.
func (w *walker) next(b []byte, stop bool, now time.Time, r *rules) (n int, ev event, frame []byte, err *fault) {
	if w.held != nil {
		return w.resume(b, now, r)
	}
	for n < len(b) {
		if w.left > 0 {
			n += w.payload(int64(len(b) - n))
			if w.left == 0 && stop {
				return n, walked, nil, nil
			}
			continue
		}
		h := b[n:]
		size := headerSize(h)
		if len(h) < size || h[0]&0x8 != 0 {
			break // a control frame or the beginning of a header: by itself
		}
		if err := w.begin(h[:size], now, r); err != nil {
			if n > 0 {
				break // what is good goes first; the fault is found again
			}
			return n, faulted, nil, err
		}
		n += size
		if w.left == 0 && stop {
			return n, walked, nil, nil
		}
	}
	if n > 0 {
		return n, walked, nil, nil
	}
	return w.resume(b, now, r)
}

// payload walks over at most n bytes of the current frame's payload.
func (w *walker) payload(n int64) int {
	n = min(n, w.left)
	w.left -= n
	if w.left == 0 {
		w.ended()
	}
	return int(n)
}

// resume goes on with a control frame, or with a header that came in pieces.
func (w *walker) resume(b []byte, now time.Time, r *rules) (n int, ev event, frame []byte, err *fault) {
	if whole := frameSize(b); w.held == nil && len(b) >= 2 && b[0]&0x8 != 0 && len(b) >= whole {
		if err := w.begin(b[:headerSize(b)], now, r); err != nil {
			return 0, faulted, nil, err
		}
		return whole, control, b[:whole], nil
	}
	for n < len(b) {
		h, k := w.hold(b[n:])
		n += k
		if len(h) < headerSize(h) {
			continue
		}
		if len(h) == headerSize(h) {
			if err := w.begin(h, now, r); err != nil {
				return n, faulted, nil, err
			}
		}
		if len(h) == frameSize(h) {
			w.held = nil
			if h[0]&0x8 != 0 {
				return n, control, h, nil
			}
			return n, completed, h, nil
		}
	}
	return n, waiting, nil, nil
}

// hold sets bytes of b aside, as many as the frame still needs to be dealt with or
// to say how many that is, and returns all that is held.
func (w *walker) hold(b []byte) (all []byte, n int) {
	if w.held == nil {
		w.held = &partial{}
	}
	h := w.held
	n = copy(h.room[h.size:frameSize(h.bytes())], b)
	h.size += uint8(n)
	return h.bytes(), n
}

// frameSize is how many bytes of the frame that begins with h must be there
// before it is dealt with: of a control frame all, of others the header.
func frameSize(h []byte) int {
	size := headerSize(h)
	if len(h) >= size && h[0]&0x8 != 0 && h[1]&0x7f <= maxControl {
		size += int(h[1] & 0x7f)
	}
	return size
}

// begin judges a header and takes it into account.
func (w *walker) begin(h []byte, now time.Time, r *rules) *fault {
	if err := w.judgement(h, r); err != nil {
		return err
	}
	w.begun = true
	fin, op, n := h[0]&0x80 != 0, h[0]&0xf, payloadSize(h)
	if empty := n == 0 && (!fin || op == opContinuation); op&0x8 != 0 || empty {
		if !w.flood.spend(now) {
			return errFlood
		}
	}
	if op&0x8 != 0 {
		return nil
	}
	w.message += n
	w.fragments++
	w.left, w.final = n, fin
	w.open = true
	if n == 0 {
		w.ended()
	}
	return nil
}

// ended takes the end of a data frame into account.
func (w *walker) ended() {
	if !w.final {
		return
	}
	w.messages++
	w.open, w.message, w.fragments = false, 0, 0
}

// opcodes has a bit for each opcode that RFC 6455 §5.2 gives a meaning.
const opcodes = 1<<opContinuation | 1<<opText | 1<<opBinary | 1<<opClose | 1<<opPing | 1<<opPong

// judgement is what is wrong with a header, changing nothing.
func (w *walker) judgement(h []byte, r *rules) *fault {
	fin, rsv, op := h[0]&0x80 != 0, h[0]&0x70, h[0]&0xf
	first := op == opText || op == opBinary
	n := payloadSize(h)
	switch {
	case rsv != 0 && !r.lax && !(r.deflate && first && rsv == 0x40):
		return errReservedBits
	case !r.lax && opcodes>>op&1 == 0:
		return errReservedOpcode
	case r.masked && h[1]&0x80 == 0:
		return errUnmasked
	case !r.masked && h[1]&0x80 != 0:
		return errMasked
	case op&0x8 != 0 && h[1]&0x7f > maxControl:
		return errControlSize
	case op&0x8 != 0 && !fin:
		return errControlSplit
	case n < 0:
		return errHugeLength
	case h[1]&0x7f == 126 && n < 126, h[1]&0x7f == 127 && n < 1<<16:
		return errLength
	case op&0x8 != 0:
		return nil
	case op == opContinuation && !w.open:
		return errContinuation
	case op != opContinuation && w.open:
		return errInterleaved
	case n > r.limit-w.message:
		return errTooBig
	case int64(w.fragments) >= freeFragments+w.message/fragmentSize:
		return errFragments
	}
	return nil
}
