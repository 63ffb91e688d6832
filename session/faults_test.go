package session

// A fault is planted between a session and those who use it.
type fault struct {
	name    string
	core    func(core) core
	backend func(Backend) Backend
}

func (f fault) before(c core) core {
	if f.core == nil {
		return c
	}
	return f.core(c)
}

func (f fault) behind(b Backend) Backend {
	if f.backend == nil {
		return b
	}
	return f.backend(b)
}
