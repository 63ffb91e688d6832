package loop

import "math/bits"

// A wheel orders timers by their tick in constant time: six levels of 64 slots,
// each slot of a level as wide as the whole level below. It knows no clock and
// starts nothing.
type wheel struct {
	now    uint64 // every timer up to here has fired
	levels [levels]level
}

const (
	slotBits = 6
	slots    = 1 << slotBits
	levels   = 6
	// horizon is how far ahead a timer can be; later ones fire there. A whole turn
	// of the top level would bring a timer into the slot that is now.
	horizon = (slots-1)<<(slotBits*(levels-1)) - 1
)

type level struct {
	used  uint64 // a bit for each slot that holds a timer
	slots [slots]*Timer
}

// add puts t into the wheel, to fire at the tick at, or the next if that is past.
func (w *wheel) add(t *Timer, at uint64) {
	t.at = min(max(at, w.now+1), w.now+horizon)
	w.place(t)
}

// place puts t, whose tick is at hand or to come, where it belongs as seen from now.
func (w *wheel) place(t *Timer) {
	diff := (w.now ^ t.at) | (slots - 1)
	lv := (bits.Len64(diff) - 1) / slotBits
	if lv >= levels {
		lv = levels - 1
	}
	slot := t.at >> (slotBits * lv) & (slots - 1)
	l := &w.levels[lv]
	t.level, t.slot, t.set = uint8(lv), uint8(slot), true
	t.prev, t.next = nil, l.slots[slot]
	if t.next != nil {
		t.next.prev = t
	}
	l.slots[slot] = t
	l.used |= 1 << slot
}

// remove takes t out; it need not be in.
func (w *wheel) remove(t *Timer) {
	if !t.set {
		return
	}
	l := &w.levels[t.level]
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else if l.slots[t.slot] = t.next; t.next == nil {
		l.used &^= 1 << t.slot
	}
	t.next, t.prev, t.set = nil, nil, false
}

// next is the first tick at which the wheel must turn, and the slot that comes
// then. On a level above the lowest its timers fire only later.
func (w *wheel) next() (at uint64, head *Timer) {
	for lv := range w.levels {
		l := &w.levels[lv]
		if l.used == 0 {
			continue
		}
		width := uint64(1) << (slotBits * lv)
		here := int(w.now / width % slots)
		ahead := bits.TrailingZeros64(bits.RotateLeft64(l.used, -here))
		at := w.now/width*width + uint64(ahead)*width
		return at, l.slots[(here+ahead)%slots]
	}
	return 0, nil
}

// turn moves the wheel to the tick now and calls fire for each timer that is due,
// in the order of their ticks. fire may add and remove timers.
func (w *wheel) turn(now uint64, fire func(*Timer)) {
	for {
		at, head := w.next()
		if head == nil || at > now {
			break
		}
		w.now = at
		l, slot := head.level, head.slot
		for t := head; t != nil; t = w.levels[l].slots[slot] {
			w.remove(t)
			if t.at <= w.now {
				fire(t)
			} else {
				w.place(t)
			}
		}
	}
	w.now = max(w.now, now)
}
