package session

// perMessage is what a message counts for beside its bytes, so that empty ones
// have a bound too: about what keeping one takes.
const perMessage = 64

// A log holds the messages that the client may still ask for again.
type log struct {
	base     uint64 // the number before that of messages[0]
	messages []Message
	size     int64 // of all, perMessage included
}

// last is the number of the newest message.
func (l *log) last() uint64 { return l.base + uint64(len(l.messages)) }

func (l *log) push(m Message) {
	l.messages = append(l.messages, m)
	l.size += m.size()
}

func (m Message) size() int64 { return int64(len(m.Data)) + perMessage }

// after appends the messages behind the number last to buf: at least one if there
// is any, and then as many as stay within most bytes.
func (l *log) after(buf []Message, last uint64, most int64) []Message {
	size := int64(0)
	for i, m := range l.messages[last-l.base:] {
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
	n := min(int(last-l.base), len(l.messages))
	for _, m := range l.messages[:n] {
		freed += m.size()
	}
	clear(l.messages[:n])
	l.base += uint64(n)
	l.size -= freed
	switch rest := l.messages[n:]; {
	case len(rest) > 0:
		l.messages = rest
	case cap(l.messages) > keptSlots:
		l.messages = nil
	default:
		l.messages = l.messages[:0]
	}
	return freed
}
