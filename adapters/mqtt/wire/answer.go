package wire

// RefuseConnect returns the CONNACK that turns a client away with a version 5
// reason code. It is nil where the specification knows no answer but to close:
// before the version is known, and in 3.1.1 for all that its six return codes do
// not say.
func RefuseConnect(version, code byte) []byte {
	switch version {
	case Version5:
		return []byte{Connack << 4, 3, 0, code, 0}
	case Version311:
		if c := connectReturnCode(code); c != 0 {
			return []byte{Connack << 4, 2, 0, c}
		}
	}
	return nil
}

// connectReturnCode translates to MQTT 3.1.1 §3.2.2.3.
func connectReturnCode(code byte) byte {
	switch code {
	case CodeUnsupportedVersion:
		return 1
	case CodeInvalidClientID:
		return 2
	case 0x88, 0x89, 0x8B, 0x97, 0x9F: // unavailable, busy, shutting down, quota, rate
		return 3
	case 0x86, 0x8C:
		return 4
	case 0x87, 0x8A, CodeTopicNameInvalid: // a will that may not be
		return 5
	}
	return 0
}

// AppendDisconnect appends a DISCONNECT with a reason code, and nothing in
// 3.1.1, where a server cannot send one.
func AppendDisconnect(b []byte, version, code byte) []byte {
	if version != Version5 {
		return b
	}
	return append(b, Disconnect<<4, 1, code)
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. The reason is left out
// where it is 0 [MQTT-3.4.2-1] and in 3.1.1, which has none.
func AppendAck(b []byte, version, packet byte, id uint16, code byte) []byte {
	head := packet << 4
	if packet == Pubrel {
		head |= 0x02 // [MQTT-3.6.1-1]
	}
	if version != Version5 || code == 0 {
		return append(b, head, 2, byte(id>>8), byte(id))
	}
	return append(b, head, 3, byte(id>>8), byte(id), code)
}
