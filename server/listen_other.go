//go:build !linux

package server

import "net"

func listenTCP(address string) (net.Listener, error) { return net.Listen("tcp", address) }
