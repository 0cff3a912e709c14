// Boost.JSON's one translation unit; used header-only, its library is not linked.
#include <boost/json/src.hpp>
