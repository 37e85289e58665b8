// Command pickersim runs the picker against simulated swarms and prints how near its reads come to what is physically possible.
//
//	go run ./picker/sim/cmd/pickersim -exp seek -scen netns5,hetero30 -busy true,false
//	go run ./picker/sim/cmd/pickersim -exp seek -scen netns5 -reads     # each read
//	go run ./picker/sim/cmd/pickersim -exp cold,seq,play,full -scen all
package main
