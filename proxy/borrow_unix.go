//go:build unix

package proxy

import (
	"io"
	"syscall"
)

const canBorrow = true

// tryRead reads what is there. It runs within RawConn.Read, which calls it again
// once the socket is readable if it returns false.
func (s *stream) tryRead(fd uintptr) bool {
	chunk := chunks.Get().(*[]byte)
	for {
		n, err := syscall.Read(int(fd), *chunk)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			chunks.Put(chunk)
			return false
		case err != nil:
			chunks.Put(chunk)
			s.err = err
		case n == 0:
			chunks.Put(chunk)
			s.err = io.EOF
		default:
			s.chunk, s.n = chunk, n
		}
		return true
	}
}
