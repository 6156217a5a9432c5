package test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// A rawClient speaks just enough MQTT 3.1.1 to load a server and to misbehave.
type rawClient struct {
	conn net.Conn
	in   *bufio.Reader
}

func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// packet frames a body behind a fixed header (MQTT 3.1.1 section 2.2).
func packet(first byte, body ...[]byte) []byte {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	out := []byte{first}
	for {
		digit := byte(n % 128)
		if n /= 128; n > 0 {
			digit |= 0x80
		}
		out = append(out, digit)
		if n == 0 {
			break
		}
	}
	for _, b := range body {
		out = append(out, b...)
	}
	return out
}

func connectPacket(clientID, user, password string) []byte {
	return packet(0x10, text("MQTT"), []byte{4, 0xC2, 0, 60}, text(clientID), text(user), text(password))
}

func publishPacket(topic string, id uint16, payload []byte) []byte {
	return packet(0x32, text(topic), binary.BigEndian.AppendUint16(nil, id), payload)
}

// dialMQTT connects and waits for the CONNACK, whose code it returns.
func dialMQTT(addr, clientID string, d device) (*rawClient, byte, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, 0, err
	}
	c := &rawClient{conn, bufio.NewReader(conn)}
	if _, err := conn.Write(connectPacket(clientID, d.id, d.secret)); err != nil {
		conn.Close()
		return nil, 0, err
	}
	first, body, err := c.read()
	if err != nil || first != 0x20 || len(body) != 2 {
		conn.Close()
		return nil, 0, fmt.Errorf("no CONNACK: %w", err)
	}
	return c, body[1], nil
}

// read returns the next packet.
func (c *rawClient) read() (first byte, body []byte, err error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if first, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return first, body, err
}
