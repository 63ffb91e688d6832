package wire

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// A model of the protocol, with both sides as the specification has them and no
// time: whatever may happen next happens at random. Carriers die, requests overtake
// each other, come twice, or lose their answers. The backend is an echo that reads
// nothing while its answers find no room. Whatever the schedule, each message comes
// once and in order, and once the faults stop all of them come.
func TestModel(t *testing.T) {
	seed := seed(t)
	schedules := uint64(400)
	if os.Getenv("E2E_LONG") != "" {
		schedules = 20_000
	}
	for n := range schedules {
		m := newModel(rand.New(rand.NewPCG(seed, n)))
		if why := m.run(); why != "" {
			t.Fatalf("seed %d, schedule %d: %s", seed, n, why)
		}
	}
}

// The model must see that it sees: each of these breaks a rule of the specification.
func TestModelFindsFaults(t *testing.T) {
	seed := seed(t)
	for name, plant := range map[string]func(m *model){
		"the server takes what lies beyond a gap":     func(m *model) { m.srv.skipsGaps = true },
		"the server reads on only when there is room": func(m *model) { m.srv.waits = true },
		"a turn that is late counts":                  func(m *model) { m.srv.lateTurns = true },
		"a lost answer is not sent again":             func(m *model) { m.srv.forgets = true },
		"no answer tells of a gap":                    func(m *model) { m.cli.trusts = true },
		"every GONE is believed":                      func(m *model) { m.cli.believes = true },
		"what any carrier was told counts as told":    func(m *model) { m.srv.tellsOnce = true; m.cli.large() },
	} {
		found := ""
		for n := uint64(0); n < 10_000 && found == ""; n++ {
			m := newModel(rand.New(rand.NewPCG(seed, n)))
			plant(m)
			found = m.run()
		}
		if t.Logf("%s: %s", name, found); found == "" {
			t.Errorf("%s: not found", name)
		}
	}
}

type model struct {
	rng   *rand.Rand
	calm  bool
	links []*link
	srv   *modelServer
	cli   *modelClient
	wrong string
}

// A link is a WebSocket, or one request with its answer.
type link struct {
	kind       Kind
	generation uint64
	token      string
	up, down   [][]byte
	left, gone bool // the client has dropped it; the server has
	heard      bool // the request came
	answered   bool
	proven     bool
	uses       bool // there is a USE in it
	end        Ack  // of a request's DATA: what is awaited behind it
}

func (m *model) fail(why string) {
	if m.wrong == "" {
		m.wrong = why
	}
}

func newModel(rng *rand.Rand) *model {
	m := &model{rng: rng}
	window := int64(4 << 10)
	m.srv = &modelServer{m: m, window: window}
	m.cli = &modelClient{m: m, window: window, next: 1}
	for i := range 5 + rng.IntN(25) {
		m.cli.messages = append(m.cli.messages, letters(uint64(i+1), 0, uint64(rng.IntN([]int{50, 6000}[rng.IntN(2)]))))
	}
	return m
}

func (m *model) run() string {
	for step := 0; step < 30_000 && m.wrong == ""; step++ {
		m.calm = step > 600
		if m.cli.done() {
			break
		}
		m.step()
	}
	if m.wrong == "" && !m.cli.done() {
		return "it hangs"
	}
	return m.wrong
}

func (m *model) step() {
	m.links = slices.DeleteFunc(m.links, func(l *link) bool { return l.left && l.gone })
	switch m.rng.IntN(8) {
	case 0:
		m.srv.echo()
	case 1:
		m.srv.speak()
	case 2, 3:
		m.cli.live()
	default:
		if len(m.links) > 0 {
			m.move(m.links[m.rng.IntN(len(m.links))])
		}
	}
}

// move lets something happen to a link.
func (m *model) move(l *link) {
	fault := !m.calm && m.rng.IntN(12) == 0
	switch {
	case fault && l.kind == WebSocket: // cut; what was on its way up may come or not
		l.up, l.down = l.up[:m.rng.IntN(len(l.up)+1)], nil
		m.cli.lose(l)
	case l.left && len(l.up) == 0:
		m.srv.lose(l)
	case fault && l.kind != WebSocket && m.rng.IntN(2) == 0: // the answer is lost, or the request
		l.down = nil
		if m.rng.IntN(2) == 0 {
			l.up = nil
		}
		m.cli.lose(l)
	case l.gone && len(l.up) > 0:
		l.up = nil
	case len(l.up) > 0 && (len(l.down) == 0 || m.rng.IntN(2) == 0) && !(m.srv.waits && m.srv.full()):
		body := l.up[0]
		if again := fault && l.kind != WebSocket; !again {
			l.up = l.up[1:]
		}
		m.srv.hear(l, body)
	case len(l.down) > 0 && !l.left:
		body := l.down[0]
		l.down = l.down[1:]
		m.cli.hear(l, body)
	}
}

type modelServer struct {
	m           *model
	window      int64
	tokens      Tokens
	opened      bool
	up          Assembly
	queue       [][]byte
	handed      uint64
	told        Ack      // the last that went by the carrier in use
	log         [][]byte // all that ever was
	acked       Ack
	turn, inUse uint64
	carrier     *link // the one in use, if it is attached
	next        uint64
	from        int

	skipsGaps, waits, lateTurns, forgets, tellsOnce bool
}

func weigh(messages [][]byte) (size int64) {
	for _, p := range messages {
		size += int64(len(p)) + Overhead
	}
	return size
}

func (s *modelServer) full() bool { return len(s.queue) > 0 }

// echo is the backend: it reads a message if there is room for its answer.
func (s *modelServer) echo() {
	if len(s.queue) > 0 && weigh(s.log[s.acked.Received:]) < s.window {
		if n := int(s.handed); n >= len(s.m.cli.messages) || !bytes.Equal(s.queue[0], s.m.cli.messages[n]) {
			s.m.fail("the backend gets another message than was sent")
		}
		s.log, s.queue = append(s.log, s.queue[0]), s.queue[1:]
		s.handed++
	}
}

// speak writes what is to go down, by the carrier in use.
func (s *modelServer) speak() {
	l := s.carrier
	if l == nil || l.kind == Poll && l.answered || len(l.down) > 3 {
		return
	}
	if s.next <= s.acked.Received { // it came by another carrier meanwhile
		s.next, s.from = s.acked.Received+1, 0
	}
	var out []byte
	if a := s.up.Ack(s.handed); a != s.told || l.kind == Poll {
		out = s.tell(l).Append(nil)
	}
	for s.next <= uint64(len(s.log)) && (s.from > 0 || weigh(s.log[s.acked.Received:s.next-1]) < s.m.cli.window) {
		var whole bool
		if out, s.from, whole = AppendMessage(out, s.next, false, s.log[s.next-1], s.from, 2500-len(out)); !whole {
			break
		}
		s.next, s.from = s.next+1, 0
	}
	if len(out) > 0 {
		l.down = append(l.down, out)
	}
	l.answered = l.kind == Poll
}

// tell is what a link is about to be told: it counts if messages go by its carrier.
func (s *modelServer) tell(l *link) Ack {
	a := s.up.Ack(s.handed)
	if s.carrier != nil && l.generation == s.inUse || s.tellsOnce {
		s.told = a
	}
	return a
}

func (s *modelServer) use(turn, generation uint64, by *link) {
	if turn > s.turn || s.lateTurns && turn > 0 {
		s.turn = max(turn, s.turn)
		if s.inUse != generation {
			s.letGo()
			s.inUse, s.carrier = generation, nil
		}
	}
	for _, l := range s.m.links { // the newest of that generation
		if l.generation == s.inUse && !l.gone && l.heard && (l.kind == WebSocket || l == by && l.kind == Poll) && s.carrier != l {
			s.attach(l)
		}
	}
}

func (s *modelServer) attach(l *link) {
	s.letGo()
	s.carrier = l
	if !s.tellsOnce {
		s.told = Ack{}
	}
	if !s.forgets || s.next == 0 {
		s.next, s.from = s.acked.Next(), int(s.acked.Partial)
	}
}

// letGo answers a poll that is held by the carrier that was in use.
func (s *modelServer) letGo() {
	if l := s.carrier; l != nil && l.kind == Poll && !l.answered {
		l.down, l.answered = append(l.down, s.tell(l).Append(nil)), true
	}
}

func (s *modelServer) lose(l *link) {
	l.gone = true
	if s.carrier == l {
		s.carrier = nil
	}
}

func (s *modelServer) hear(l *link, body []byte) {
	l.heard = true
	for len(body) > 0 {
		f, rest, err := Split(body)
		if err != nil {
			s.m.fail(err.Error())
			return
		}
		body = rest
		if !s.obey(l, f) {
			l.gone = true
			return
		}
	}
	s.use(0, 0, l)
	if l.kind != WebSocket && !l.answered && s.carrier != l {
		l.down, l.answered = append(l.down, s.tell(l).Append(nil)), true
	}
}

// obey does what a frame asks for, and reports whether to read on.
func (s *modelServer) obey(l *link, f Frame) bool {
	v, err := decode(f)
	if err != nil {
		s.m.fail(err.Error())
		return false
	}
	switch v := v.(type) {
	case *Hello:
		if v.Session != "" && !s.tokens.Use(v.Token) {
			return s.turnAway(l)
		}
		s.opened = true
		s.ack(v.Ack())
		s.use(v.Use, l.generation, l)
		a := s.tell(l)
		w := &Welcome{Version: 1, Session: "s", Token: s.tokens.Offer(), Window: uint64(s.window), TTL: 1, Position: Position{a.Received, a.Ahead, a.Partial, s.acked.Received + 1}}
		out, err := w.Append(nil)
		if err != nil {
			s.m.fail(err.Error())
		}
		l.down, l.answered = append(l.down, out), l.kind != WebSocket
	case Continue:
		if !s.tokens.Use(v.Token) {
			return s.turnAway(l)
		}
	case Use:
		s.use(v.Turn, v.Generation, l)
	case Ack:
		s.ack(v)
	case Data:
		return s.take(l, v)
	}
	return true
}

func (s *modelServer) turnAway(l *link) bool {
	out, _ := (&Gone{"unknown"}).Append(nil)
	l.down, l.answered = append(l.down, out), true
	return false
}

func (s *modelServer) ack(a Ack) {
	if a.Next() > uint64(len(s.log))+1 {
		s.m.fail("the client acknowledges what was not sent")
	}
	if a.Received >= s.acked.Received && (a.Next() > s.acked.Next() || a.Next() == s.acked.Next() && a.Partial > s.acked.Partial) {
		s.acked = a
	}
}

func (s *modelServer) take(l *link, d Data) bool {
	begins := d.Number == s.up.Ack(0).Next() && s.up.Held() == 0
	if begins && weigh(s.queue) >= s.window {
		s.m.fail("a message was begun beyond the window")
	}
	if s.skipsGaps && d.Offset == 0 && s.up.Held() == 0 {
		s.up.done = max(s.up.done, d.Number-1)
	}
	message, whole, err := s.up.Add(d)
	if whole {
		s.queue = append(s.queue, bytes.Clone(message))
	}
	if err != nil && l.kind == WebSocket {
		s.m.fail("by a WebSocket: " + err.Error())
	}
	return true
}
