//go:build !linux

package proxy

import "syscall"

func limitUnsent(syscall.RawConn) {}

func allArrived(syscall.RawConn) bool { return false }
