// side.h: the two sides of everything: users and items. Installed with the lookup library's header.
#ifndef THAW_BASE_SIDE_H
#define THAW_BASE_SIDE_H

enum thaw_side { THAW_USERS = 0, THAW_ITEMS = 1 };

#endif
