// Prints the addresses that getaddrinfo(3) of the C library finds for a name, one a line; status 2 if there are none.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found, *one;
    char text[INET6_ADDRSTRLEN];
    if (argc != 2 || getaddrinfo(argv[1], 0, &hints, &found)) return 2;
    for (one = found; one; one = one->ai_next) {
        void *address = one->ai_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr
                                                   : (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr;
        puts(inet_ntop(one->ai_family, address, text, sizeof text));
    }
    return 0;
}
