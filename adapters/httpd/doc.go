// Package httpd is the door by which devices publish over HTTP. It owns the
// request: its path, its evidence, its body and the status that answers it.
// Who may publish is the Gateway's to say; TLS and the listener are the
// caller's. The WebSocket door reads its requests and writes its refusals
// with this package too, so that both doors speak alike.
//
//	POST /http/m/<d>/c/<c>[/<sub>] ─> Topic ─> Credential ─> Gateway.Open
//	                                     body ─> SenML? ─> Session.PublishWait
//	                                  202 + Nats-Sequence <─┘
//
// # Evidence
//
// A device shows Authorization: Client <secret>, Authorization: Basic with its
// id and secret, a certificate, or several of these, which must agree. A
// person shows Bearer <access token> and nothing else. A secret in the query
// is read at the WebSocket door alone, for browsers cannot set headers there;
// here ?authorization= is refused even beside good evidence, because secrets
// in URLs end in other people's logs, and what one door refuses silently
// nobody learns to leave out.
//
// # Paths
//
// Each segment of the path is decoded by itself and becomes one level of the
// topic, so "%2F" cannot make two levels of one (it is refused), and "." and
// ".." are levels like any other. Mount Server before anything that cleans
// paths, as http.ServeMux does: it would redirect "//" and "..".
package httpd
