package server

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Handshakes and HTTP make garbage by the megabyte; once a burst of them is over Go
// holds twice what the idle connections need, and for minutes more than that. A
// keeper notices and gives it back to the system.
const (
	// lookEvery is how often a keeper looks. One look takes some 10 µs.
	lookEvery = 10 * time.Second
	// worthwhile is the least gain, in bytes, that is worth a collection.
	worthwhile = 1 << 20
	// ordinary is how much may be allocated between two looks in a quiet time.
	ordinary = 4 << 20
	// share of one processor that giving back may take: one part in so many.
	share = 200
)

// A usage is what Go does with memory, in bytes.
type usage struct {
	objects   uint64 // of the heap: live, or garbage that was not collected yet
	live      uint64 // what of them the last collection found alive
	free      uint64 // held for later, and nothing in it
	allocated uint64 // since the start, in all
	percent   int64  // GOGC; negative: the collector is off
}

// gain is about what giving back would bring: what came since the last collection
// is mostly garbage.
func (u usage) gain() uint64 {
	if u.objects < u.live {
		return u.free
	}
	return u.free + u.objects - u.live
}

// A keeper decides when memory is given back. It obeys GOGC and GOMEMLIMIT, and
// changes neither.
type keeper struct {
	was  usage     // at the last look
	left uint64    // the gain that the last giving back left behind: it cannot be had
	next time.Time // not before this
}

// due takes a look, and reports whether memory is to be given back now. It is not
// while much is being allocated, which would be asked for again at once; not where
// there is less to gain than a quarter of what GOGC allows for garbage; and never
// where GOGC is off, for who says so wants no collection.
func (k *keeper) due(u usage, now time.Time) bool {
	allocated := u.allocated - k.was.allocated
	k.was = u
	switch {
	case u.percent < 0 || now.Before(k.next):
		return false
	case allocated >= max(ordinary, u.live):
		return false
	}
	return u.gain() >= k.left+max(worthwhile, u.live/4*uint64(u.percent)/100)
}

// gave takes into account that memory was given back, and what that cost: it took
// cost of processor time.
func (k *keeper) gave(u usage, cost time.Duration, now time.Time) {
	k.was, k.left = u, u.gain()
	k.next = now.Add(share * cost)
}

// keepMemory gives memory back after bursts until ctx is done.
func keepMemory(ctx context.Context, log *slog.Logger) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	k := keeper{was: readUsage()}
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		before, begun := readUsage(), time.Now()
		if !k.due(before, begun) {
			continue
		}
		debug.FreeOSMemory()
		after, took := readUsage(), time.Since(begun)
		k.gave(after, took*time.Duration(runtime.GOMAXPROCS(0)), time.Now()) // at worst all of them were at it
		log.Debug("gave memory back", "gain", before.gain(), "left", after.gain(), "took", took)
	}
}

// readUsage asks the runtime, which need not stop anything for it.
func readUsage() usage {
	s := [...]metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/gogc:percent"},
	}
	metrics.Read(s[:])
	n := func(i int) uint64 { return s[i].Value.Uint64() }
	return usage{objects: n(0), live: n(1), free: n(2), allocated: n(3), percent: int64(n(4))}
}
