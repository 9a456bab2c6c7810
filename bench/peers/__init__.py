"""Decision rules of other tools, written anew from their documentation so that they can be simulated beside ours."""
