// Interfaces, addresses, routes and rules through rtnetlink (libmnl). One object is one socket,
// bound for life to the network namespace it was opened in. Blocking; each call is one request and
// its acknowledgement. Errors carry the kernel's errno and its own text where it gives one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "netns/host_state.h"
#include "netns/plan.h"
#include "runtime/result.h"

struct mnl_socket;
struct nlmsghdr;

namespace pillion::netns {

class RouteNetlink {
 public:
  // Opens in the calling thread's network namespace.
  static Result<RouteNetlink> open();

  // Creates the pair with the inner end in `inner_namespace_fd`'s namespace, both ends down.
  Result<void> create_veth(const CreateVeth& veth, int inner_namespace_fd);
  Result<void> set_alias(int interface_index, const std::string& alias);
  // Deletes the interface, and with it the other end of its pair.
  Result<void> delete_interface(int interface_index);
  Result<void> set_up(const std::string& interface);
  // An address or route that is there already is not an error.
  Result<void> add_address(const std::string& interface, const Cidr& cidr);
  Result<void> delete_address(const std::string& interface, const Cidr& cidr);
  Result<void> add_route(const AddRoute& route);
  Result<void> add_mark_rule(const AddMarkRule& rule);
  // Deletes every rule for the mark and table, and the routes of the table.
  Result<void> delete_mark_rules(std::uint32_t mark, std::uint32_t table);

  Result<std::vector<Interface>> interfaces();
  Result<std::vector<InterfaceAddress>> addresses();
  Result<std::vector<Route>> routes();

  // 0 when there is none of that name.
  Result<int> index_of(const std::string& interface);

 private:
  using Visit = std::function<void(const nlmsghdr*)>;
  struct SocketCloser {
    void operator()(mnl_socket* socket) const;
  };

  explicit RouteNetlink(mnl_socket* socket) : socket_(socket) {}
  // Sends the request and reads until its acknowledgement; `visit` sees every message of a dump.
  Result<void> transact(nlmsghdr* request, const Visit& visit = nullptr);
  Result<void> change_address(int type, int flags, const std::string& interface, const Cidr& cidr);
  Result<int> require_index(const std::string& interface);

  std::unique_ptr<mnl_socket, SocketCloser> socket_;
  unsigned sequence_ = 0;
};

}  // namespace pillion::netns
