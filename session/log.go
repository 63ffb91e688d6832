package session

// perMessage is what a message counts for beside its bytes, so that empty ones
// have a bound too: about what keeping one takes.
const perMessage = 64

// A log holds the messages that the client may still ask for again.
type log struct {
	base  uint64    // the number before that of the oldest
	slots []Message // the first of them are empty: they held what was dropped
	gone  int       // so many
	size  int64     // of all, perMessage included
}

func (l *log) len() int { return len(l.slots) - l.gone }

// last is the number of the newest message.
func (l *log) last() uint64 { return l.base + uint64(l.len()) }

// push adds a message. Where half of the slots are empty they are used again: a log
// that is never quite empty makes no garbage.
func (l *log) push(m Message) {
	if len(l.slots) == cap(l.slots) && l.gone > l.len() {
		n := copy(l.slots, l.slots[l.gone:])
		clear(l.slots[n:])
		l.slots, l.gone = l.slots[:n], 0
	}
	l.slots = append(l.slots, m)
	l.size += m.size()
}

func (m Message) size() int64 { return int64(len(m.Data)) + perMessage }

// after appends the messages behind the number last to buf: at least one if there
// is any, and then as many as stay within most bytes.
func (l *log) after(buf []Message, last uint64, most int64) []Message {
	size := int64(0)
	for i, m := range l.slots[l.gone+int(last-l.base):] {
		if size += m.size(); i > 0 && size > most {
			break
		}
		buf = append(buf, m)
	}
	return buf
}

// keptSlots is how many slots an empty log keeps, so that a quiet exchange of
// single messages makes no garbage and a burst leaves nothing behind.
const keptSlots = 4

// drop forgets the messages up to the number last, and returns what they took.
func (l *log) drop(last uint64) (freed int64) {
	old := l.slots[l.gone:][:min(int(last-l.base), l.len())]
	for i, m := range old {
		freed += m.size()
		old[i] = Message{}
	}
	l.base += uint64(len(old))
	l.gone += len(old)
	l.size -= freed
	switch {
	case l.len() > 0:
	case cap(l.slots) > keptSlots:
		l.slots, l.gone = nil, 0
	default:
		l.slots, l.gone = l.slots[:0], 0
	}
	return freed
}
