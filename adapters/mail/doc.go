// Package mail posts the letters of authn through an SMTP server. It owns the
// line that letters wait in, the words they are written in and the links they
// carry. When there is a letter to write, and to whom, is authn's to say.
//
//	authn.Users.RequestReset ──> Mailer.Post ──> line ──> worker: write, then SMTP
//
// Nobody waits for the SMTP server: Post returns at once, and a server that is
// down or hangs holds up letters alone. A letter is tried a few times within a
// minute and then given up, with a line in the log. The line is in memory: a stop
// tries once what is left, and what is lost then was a key that can be asked for
// again.
//
// # What is in a letter
//
// Plain text, from the templates in letters, and nothing that a stranger chose:
// not even the name of the account, which whoever registers with the address of
// somebody else could make an advertisement of. A key stands in the fragment of
// the link, which a browser does not send and no log sees; the link begins with a
// configured URL, never with what a request said its host was (C17). The seeds'
// MG_EMAIL_TEMPLATE is not supported: a template of one's own could leak keys.
package mail
