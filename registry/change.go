package registry

// A Change says that something was created, altered or removed, after it was
// stored. It travels as a notice to the caches and sessions of every node, so
// it names things and carries none: who needs the new state reads it.
//
// The fields that are set say what is concerned:
//
//	Domain                  the domain itself (status, route) and all in it
//	Domain, Device          a device: its status, its secrets, its removal
//	Domain, Channel         a channel: its status, route, storage, removal
//	Domain, Device, Channel a connection: its rights, its removal
//	Domain, Device, Certificate
//	                        a certificate: its revocation, or its release
//	Authority               an authority of ours that is new
//	Domain, Authority       an imported authority: its status, its rules, its list
//	Domain, Device, Authority
//	                        a device that an imported authority means no more
//	User                    a person: role, status, password, sessions
//	Domain, User            a membership
//	Settings                settings that can be changed while the server runs
type Change struct {
	Domain  DomainID  `json:"domain,omitempty"`
	Device  DeviceID  `json:"device,omitempty"`
	Channel ChannelID `json:"channel,omitempty"`
	User    UserID    `json:"user,omitempty"`

	Certificate CertificateID `json:"certificate,omitempty"`
	Authority   AuthorityID   `json:"authority,omitempty"`

	Settings bool `json:"settings,omitempty"`

	// Gone says that it was removed, and all that hung on it: an id may come
	// back, because callers bring their own, and must not find what was known
	// of its predecessor.
	Gone bool `json:"gone,omitempty"`
}
