// Boost.Beast's one translation unit (BOOST_BEAST_SEPARATE_COMPILATION).
#include <boost/beast/src.hpp>
